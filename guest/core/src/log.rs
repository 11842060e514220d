//! The log: one event a line, on standard error, without secrets.

use qdrant_backup_contract::log_line::{Level, line};

use crate::error::Error;
use crate::event::Event;
use crate::ports::Ports;
use crate::redact::Redactor;
use crate::report::Item;
use crate::settings::{LogFormat, Settings};

/// Writes the lines of one run.
#[derive(Clone)]
pub struct Log {
    ports: Ports,
    format: LogFormat,
    redactor: Redactor,
}

impl Log {
    /// A log that masks the secrets among `settings`.
    pub fn new(ports: &Ports, settings: &Settings) -> Self {
        Self { ports: ports.clone(), format: settings.log_format, redactor: Redactor::new(settings.secrets()) }
    }

    /// A log that knows no secrets; what stands behind the name of one is masked all the same.
    pub fn plain(ports: &Ports, format: LogFormat) -> Self {
        Self { ports: ports.clone(), format, redactor: Redactor::default() }
    }

    /// `text` without secrets.
    pub fn clean(&self, text: &str) -> String {
        self.redactor.clean(text).to_string()
    }

    /// `error` without secrets: its cause may be somebody else's words.
    pub fn clean_error(&self, error: Error) -> Error {
        error.map_text(|text| self.clean(text))
    }

    /// Writes what happens, at `host` where it concerns one.
    pub fn info(&self, host: Option<&str>, text: &str) {
        self.write(Level::Info, host, text);
    }

    /// Writes something a person should know.
    pub fn warn(&self, host: Option<&str>, text: &str) {
        self.write(Level::Warn, host, text);
    }

    /// Writes that something failed.
    pub fn error(&self, host: Option<&str>, text: &str) {
        self.write(Level::Error, host, text);
    }

    /// Tells programs that a server is waited for.
    pub fn waiting(&self, text: &str) {
        self.ports.console.event(Event::Waiting(self.clean(text)));
    }

    /// Tells programs that an item ended.
    pub fn ended(&self, item: &Item) {
        self.ports.console.event(Event::Ended(item.clone()));
    }

    fn write(&self, level: Level, host: Option<&str>, text: &str) {
        let text = self.redactor.clean(text);
        self.ports.console.log(&line(self.format, self.ports.clock.now(), level, host, &text));
        let (host, text) = (host.map(str::to_owned), text.into_owned());
        self.ports.console.event(Event::Line { level, host, text });
    }
}
