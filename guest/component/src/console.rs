//! Standard output and standard error, and who listens to events.

use std::cell::RefCell;
use std::io::Write;

use qdrant_backup_core::event::Event;
use qdrant_backup_core::ports::Console;

/// The standard streams.
pub struct Standard;

impl Console for Standard {
    fn data(&self, text: &str) {
        let mut stdout = std::io::stdout().lock();
        let _ = stdout.write_all(text.as_bytes());
        let _ = stdout.flush();
    }

    fn log(&self, line: &str) {
        // In one piece, so that lines stay whole where others write to the same stream.
        let _ = std::io::stderr().lock().write_all(format!("{line}\n").as_bytes());
    }
}

/// The standard streams, and events that are kept until somebody takes them.
#[derive(Default)]
pub struct Told(pub RefCell<Vec<Event>>);

impl Console for Told {
    fn data(&self, text: &str) {
        Standard.data(text);
    }

    fn log(&self, line: &str) {
        Standard.log(line);
    }

    fn event(&self, event: Event) {
        self.0.borrow_mut().push(event);
    }
}

/// Log lines go to standard error; data, and the steps of a plan, are kept.
#[derive(Default)]
pub struct Kept {
    /// What would be on standard output.
    pub data: RefCell<String>,
    /// The steps of the plan.
    pub plan: RefCell<Vec<Vec<String>>>,
}

impl Console for Kept {
    fn data(&self, text: &str) {
        self.data.borrow_mut().push_str(text);
    }

    fn log(&self, line: &str) {
        Standard.log(line);
    }

    fn event(&self, event: Event) {
        if let Event::Planned(cells) = event {
            self.plan.borrow_mut().push(cells);
        }
    }
}
