//! The task that somebody may have meant who wrote a word that is none.

use crate::tasks::Task;

/// How many slips of the pen are forgiven: a letter missing, too much, wrong, or two exchanged.
const SLIPS: usize = 2;

/// The task of the nearest name, or of the nearest word that people have for it; `None` where none is near. Never one
/// that removes something: who wrote another word did not mean that.
pub fn task(word: &str) -> Option<Task> {
    let word = word.to_ascii_lowercase().replace('-', "_");
    let names = |task: &Task| {
        let row = task.row();
        std::iter::once(row.name).chain(row.aliases.iter().copied()).chain(row.synonyms.iter().copied())
    };
    let distance = |task: &Task| names(task).map(|name| strsim::osa_distance(&word, name)).min();
    let near = |distance: usize| distance <= SLIPS && distance * 2 < word.chars().count();
    let nearest = Task::all().into_iter().filter_map(|task| Some((distance(&task)?, task))).min_by_key(|(far, _)| *far);
    nearest.filter(|(distance, task)| near(*distance) && !task.row().removes).map(|(_, task)| task)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suggested(word: &str) -> Option<&'static str> {
        task(word).map(|task| task.name())
    }

    #[test]
    fn a_word_is_understood_by_its_meaning_and_through_slips() {
        for (word, name) in [
            ("backup", "create_snap_shards"),
            ("bakcup", "create_snap_shards"),
            ("restroe", "restore"),
            ("recover", "restore"),
            ("list", "list_sets"),
            ("lsit", "list_sets"),
            ("creat_snap", "create_snap"),
            ("recover-snap", "recover_snap"),
            ("chekc", "check"),
            ("preflight", "check"),
            ("get_aliases", "get_colla"),
        ] {
            assert_eq!(suggested(word), Some(name), "{word}");
        }
    }

    #[test]
    fn no_word_leads_to_a_task_that_removes_something() {
        for word in ["rest", "reste", "rset", "resett", "prune", "prune_sanp", "delete", "remove", "clean"] {
            assert!(task(word).is_none_or(|task| !task.row().removes), "{word}: {:?}", suggested(word));
        }
        for word in ["", "x", "no_such_task", "qdrant"] {
            assert_eq!(suggested(word), None, "{word}");
        }
    }
}
