//! One setting: its name, type, default, accepted values, meaning, and how its value is read.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::duration;
use super::secret::Secret;

/// A setting whose value is a `T`. The rows of the table (`table.rs`) are all there are.
#[derive(Clone, Copy)]
pub struct Setting<T> {
    /// What the documentation says of it.
    pub variable: Variable,
    default: fn(&Variable) -> T,
    read: fn(&Variable, &str) -> Result<T, String>,
}

/// A setting as the documentation has it: an environment variable.
#[derive(Clone, Copy)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What it sets.
    pub meaning: &'static str,
    /// True when its value must never be shown.
    pub secret: bool,
    /// Who reads it.
    pub scope: Scope,
    default: Default,
    accepts: Accepts,
}

/// Who reads a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The component; the host hands it over.
    Component,
    /// The host program only.
    Host,
    /// Nobody any more; accepted so that old manifests stay as they are.
    Unused,
}

/// The value of a setting that is not set.
#[derive(Clone, Copy)]
enum Default {
    Words(&'static str),
    Flag(bool),
    Number(u64),
    Duration(Duration),
    Choice(fn() -> &'static str),
}

/// The values that a setting may have.
#[derive(Clone, Copy)]
enum Accepts {
    Words(&'static str),
    Flag,
    Numbers { least: u64, most: u64 },
    Durations { least: Duration, most: Duration },
    Choice(fn() -> Vec<&'static str>),
}

/// The values that a setting may have, for programs; both ends are included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// Text, in words.
    Text(&'static str),
    /// `true` or `false`.
    Flag,
    /// A number.
    Number(u64, u64),
    /// A time, in seconds.
    Seconds(u64, u64),
    /// One of these words.
    Choice(Vec<&'static str>),
}

/// A value that is one of a few words.
pub trait Word: Copy + PartialEq + std::default::Default + 'static {
    /// The words and what they stand for.
    const WORDS: &'static [(&'static str, Self)];
}

impl Variable {
    /// Its value when not set, for the documentation; empty for none.
    pub fn default(&self) -> String {
        match self.default {
            Default::Words(words) => words.to_owned(),
            Default::Flag(flag) => flag.to_string(),
            Default::Number(number) => number.to_string(),
            Default::Duration(time) => duration::show(time),
            Default::Choice(word) => word().to_owned(),
        }
    }

    /// The accepted values, for the documentation.
    pub fn accepts(&self) -> String {
        match self.accepts {
            Accepts::Words(words) => words.to_owned(),
            Accepts::Flag => "true, false".to_owned(),
            Accepts::Numbers { least, most } => format!("{least} to {most}"),
            Accepts::Durations { least, most } => format!("{} to {}", duration::show(least), duration::show(most)),
            Accepts::Choice(words) => words().join(", "),
        }
    }

    /// The accepted values, for programs.
    pub fn accepted(&self) -> Accepted {
        match self.accepts {
            Accepts::Words(words) => Accepted::Text(words),
            Accepts::Flag => Accepted::Flag,
            Accepts::Numbers { least, most } => Accepted::Number(least, most),
            Accepts::Durations { least, most } => Accepted::Seconds(least.as_secs(), most.as_secs()),
            Accepts::Choice(words) => Accepted::Choice(words()),
        }
    }

    const fn new(name: &'static str, default: Default, accepts: Accepts, meaning: &'static str) -> Self {
        Self { name, meaning, secret: false, scope: Scope::Component, default, accepts }
    }

    const fn words(name: &'static str, default: &'static str, accepts: &'static str, meaning: &'static str) -> Self {
        Self::new(name, Default::Words(default), Accepts::Words(accepts), meaning)
    }
}

impl<T> Setting<T> {
    /// Its value when not set.
    pub fn default(&self) -> T {
        (self.default)(&self.variable)
    }

    /// Reads a value that is set.
    ///
    /// # Errors
    /// What is wrong with it and what is accepted, without any secret in it.
    pub fn read(&self, text: &str) -> Result<T, String> {
        (self.read)(&self.variable, text)
    }
}

impl<T: std::default::Default> Setting<T> {
    /// A value with a reader of its own; where it is not set, the type's default, `default` in the documentation.
    pub const fn parsed(
        name: &'static str,
        default: &'static str,
        accepts: &'static str,
        read: fn(&Variable, &str) -> Result<T, String>,
        meaning: &'static str,
    ) -> Self {
        Self { variable: Variable::words(name, default, accepts, meaning), default: |_| T::default(), read }
    }
}

impl<T: Word> Setting<T> {
    /// One of a few words, in any case.
    pub const fn choice(name: &'static str, meaning: &'static str) -> Self {
        let default = Default::Choice(|| {
            let word = T::WORDS.iter().find(|(_, value)| *value == T::default());
            word.map_or("", |(word, _)| word)
        });
        let variable = Variable::new(name, default, Accepts::Choice(words::<T>), meaning);
        let read = |_: &Variable, text: &str| {
            let found = T::WORDS.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
            found.map(|(_, value)| *value).ok_or_else(|| format!("`{text}` is not one of {}", words::<T>().join(", ")))
        };
        Self { variable, default: |_| T::default(), read }
    }
}

fn words<T: Word>() -> Vec<&'static str> {
    T::WORDS.iter().map(|(word, _)| *word).collect()
}

impl<T: TryFrom<u64> + std::default::Default> Setting<T> {
    /// A whole number, both ends of `accepted` included.
    pub const fn number(
        name: &'static str,
        default: u64,
        accepted: RangeInclusive<u64>,
        meaning: &'static str,
    ) -> Self {
        assert!(*accepted.start() <= default && default <= *accepted.end(), "the default is not accepted");
        let accepts = Accepts::Numbers { least: *accepted.start(), most: *accepted.end() };
        let default_of = |variable: &Variable| match variable.default {
            Default::Number(number) => T::try_from(number).unwrap_or_default(),
            _ => T::default(),
        };
        let variable = Variable::new(name, Default::Number(default), accepts, meaning);
        Self { variable, default: default_of, read: number }
    }
}

impl Setting<Option<u64>> {
    /// A whole number that may be absent, which means `default`.
    pub const fn optional_number(
        name: &'static str,
        default: &'static str,
        accepted: RangeInclusive<u64>,
        meaning: &'static str,
    ) -> Self {
        let accepts = Accepts::Numbers { least: *accepted.start(), most: *accepted.end() };
        let variable = Variable::new(name, Default::Words(default), accepts, meaning);
        Self { variable, default: |_| None, read: |variable, text| number(variable, text).map(Some) }
    }
}

fn number<T: TryFrom<u64>>(variable: &Variable, text: &str) -> Result<T, String> {
    let Accepts::Numbers { least, most } = variable.accepts else { return Err("is not a number".to_owned()) };
    let number = text.parse().ok().filter(|number| (least..=most).contains(number));
    number
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| format!("`{text}` is not a number from {least} to {most}"))
}

impl Setting<Duration> {
    /// A time, both ends of `accepted` included.
    pub const fn duration(
        name: &'static str,
        default: Duration,
        accepted: RangeInclusive<Duration>,
        meaning: &'static str,
    ) -> Self {
        let seconds = accepted.start().as_secs()..=accepted.end().as_secs();
        assert!(
            *seconds.start() <= default.as_secs() && default.as_secs() <= *seconds.end(),
            "the default is not accepted"
        );
        let accepts = Accepts::Durations { least: *accepted.start(), most: *accepted.end() };
        let default_of = |variable: &Variable| match variable.default {
            Default::Duration(time) => time,
            _ => Duration::ZERO,
        };
        let read = |variable: &Variable, text: &str| {
            let time = duration::parse(text);
            match (variable.accepts, time) {
                (Accepts::Durations { least, most }, time)
                    if !time.as_ref().is_ok_and(|time| (least..=most).contains(time)) =>
                {
                    let why = time.err().unwrap_or_else(|| format!("`{text}` is out of range"));
                    Err(format!("{why}; accepted is {} to {}", duration::show(least), duration::show(most)))
                }
                (_, time) => time,
            }
        };
        Self { variable: Variable::new(name, Default::Duration(default), accepts, meaning), default: default_of, read }
    }
}

impl Setting<bool> {
    /// True or false, in the words people use for it.
    pub const fn flag(name: &'static str, default: bool, meaning: &'static str) -> Self {
        let read = |_: &Variable, text: &str| match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" => Ok(false),
            _ => Err(format!("`{text}` is neither true nor false")),
        };
        let variable = Variable::new(name, Default::Flag(default), Accepts::Flag, meaning);
        Self { variable, default: |variable| matches!(variable.default, Default::Flag(true)), read }
    }
}

impl Setting<Option<String>> {
    /// Any text.
    pub const fn text(name: &'static str, default: &'static str, accepts: &'static str, meaning: &'static str) -> Self {
        Self::parsed(name, default, accepts, |_, text| Ok(Some(text.to_owned())), meaning)
    }

    /// A variable that the host program reads.
    pub const fn of_host(
        name: &'static str,
        default: &'static str,
        accepts: &'static str,
        meaning: &'static str,
    ) -> Self {
        let Self { variable, default, read } = Self::text(name, default, accepts, meaning);
        Self { variable: Variable { scope: Scope::Host, ..variable }, default, read }
    }
}

impl Setting<Vec<String>> {
    /// Texts between commas.
    pub const fn list(name: &'static str, accepts: &'static str, meaning: &'static str) -> Self {
        Self::parsed(name, "", accepts, |_, text| Ok(items(text).map(str::to_owned).collect()), meaning)
    }
}

/// The texts between commas, without spaces around them and without empty ones.
pub(super) fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|text| !text.is_empty())
}

impl Setting<Option<Secret>> {
    /// A text that is never shown.
    pub const fn secret(name: &'static str, default: &'static str, meaning: &'static str) -> Self {
        let read = |_: &Variable, text: &str| {
            if text.chars().any(char::is_control) {
                return Err("has a control character inside, such as a line break (its value is not shown)".to_owned());
            }
            Ok(Some(Secret::new(text)))
        };
        let variable = Variable { secret: true, ..Variable::words(name, default, "text", meaning) };
        Self { variable, default: |_| None, read }
    }
}

impl Setting<()> {
    /// A variable that nobody reads any more.
    pub const fn unused(name: &'static str, meaning: &'static str) -> Self {
        let variable = Variable { scope: Scope::Unused, ..Variable::words(name, "", "anything", meaning) };
        Self { variable, default: |_| (), read: |_, _| Ok(()) }
    }
}
