//! The help of the settings, made from their table.

use super::setting::{Scope, Variable};
use super::table::VARIABLES;

/// All settings, or the one of this name.
///
/// # Errors
/// There is no such setting; names the nearest one.
pub fn help(name: Option<&str>) -> Result<String, String> {
    let Some(name) = name else {
        let head = "The settings are environment variables. One that is empty counts as not set.\n".to_owned();
        return Ok(VARIABLES.iter().fold(head, |text, variable| text + "\n" + &about(variable)));
    };
    let wanted = name.to_ascii_uppercase();
    if let Some(variable) = VARIABLES.iter().find(|variable| variable.name == wanted) {
        return Ok(about(variable));
    }
    let nearest = VARIABLES.iter().min_by_key(|variable| strsim::osa_distance(&wanted, variable.name));
    let nearest = nearest.map(|variable| format!("; the nearest one is {}", variable.name)).unwrap_or_default();
    Err(format!("there is no setting `{name}`{nearest}; `qdrant-backup help settings` lists them"))
}

fn about(variable: &Variable) -> String {
    let mut text = format!("{}\n    {}\n", variable.name, variable.meaning);
    let more = [("accepted", variable.accepts()), ("default", variable.default())];
    for (what, value) in more.into_iter().filter(|(_, value)| !value.is_empty()) {
        text.push_str(&format!("    {what}: {value}\n"));
    }
    if variable.secret {
        text.push_str("    secret: never shown\n");
    }
    match variable.scope {
        Scope::Component => {}
        Scope::Host => text.push_str("    read by the program, not by the component\n"),
        Scope::Unused => text.push_str("    no longer read\n"),
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_in_the_help() {
        let all = help(None).unwrap();
        for variable in VARIABLES {
            let one = help(Some(&variable.name.to_ascii_lowercase())).unwrap();
            assert!(one.starts_with(variable.name) && one.contains(variable.meaning), "{one}");
            assert!(all.contains(&one), "{}", variable.name);
        }
    }

    #[test]
    fn a_slip_in_the_name_is_answered_with_the_nearest() {
        assert!(help(Some("QDRANT_SOURCE_HOST")).unwrap_err().contains("QDRANT_SOURCE_HOSTS"));
    }
}
