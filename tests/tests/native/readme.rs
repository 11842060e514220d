//! The README's quick start with the program, command by command.

use qdrant_backup_contract::settings::table::VARIABLES;

use crate::filled;

/// The commands of the README's block that has `holding` in it.
fn commands(holding: &str) -> Vec<String> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap();
    let blocks: Vec<&str> = text.split("```console\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    let block = blocks.into_iter().find(|block| block.contains(holding)).expect("the README has this block");
    let commands = block.lines().filter_map(|line| line.strip_prefix("$ "));
    commands.map(|command| command.split(" # ").next().unwrap().trim().to_owned()).collect()
}

/// Runs the tasks of a block; its exports name settings.
async fn run(site: &qdrant_backup_tests::site::Site, commands: &[String]) -> usize {
    let mut tasks = 0;
    for command in commands {
        if let Some(exports) = command.strip_prefix("export ") {
            for name in exports.split(' ').filter_map(|export| export.split_once('=')).map(|(name, _)| name) {
                assert!(VARIABLES.iter().any(|variable| variable.name == name), "{name}");
            }
            continue;
        }
        let task: Vec<&str> = command.split_whitespace().collect();
        assert_eq!(task[0], "qdrant-backup", "{command}");
        site.run(&task[1..]).await.expect(0);
        tasks += 1;
    }
    tasks
}

#[tokio::test(start_paused = true)]
async fn the_quick_start_backs_up_and_restores() {
    let site = filled(2).await;
    let client = site.source.client();
    client.alias("docs-live", "docs").await;
    let before = client.contents().await;
    let backup = commands("qdrant-backup backup");
    assert!(run(&site, &backup).await >= 2, "{backup:?}");
    client.wipe().await;
    let restore = commands("qdrant-backup restore");
    assert!(run(&site, &restore).await >= 2, "{restore:?}");
    qdrant_backup_tests::client::assert_same(&client.contents().await, &before);
    assert_eq!(client.aliases().await.len(), 1);
}
