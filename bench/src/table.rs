//! The table that is printed: one line for each figure, with its spread and its goal.

use std::time::Duration;

/// Collects the lines.
#[derive(Default)]
pub struct Table {
    lines: Vec<[String; 4]>,
}

/// Several measurements of one figure.
pub struct Figures(Vec<f64>);

impl Figures {
    /// Of any order.
    pub fn new(figures: impl IntoIterator<Item = f64>) -> Self {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        assert!(!figures.is_empty());
        Self(figures)
    }

    /// The one in the middle.
    pub fn median(&self) -> f64 {
        self.0[self.0.len() / 2]
    }

    /// The largest.
    pub fn worst(&self) -> f64 {
        self.0[self.0.len() - 1]
    }

    /// The median and the extremes, each as `show` writes it.
    pub fn shown(&self, show: impl Fn(f64) -> String) -> String {
        match &self.0[..] {
            [one] => show(*one),
            [least, .., most] => format!("{} ({} to {})", show(self.median()), show(*least), show(*most)),
            [] => String::new(),
        }
    }
}

/// What a figure has to be.
#[derive(Clone, Copy)]
pub enum Goal {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
    /// Nothing in particular.
    None,
}

impl Table {
    /// Adds a line, and prints it at once for who watches.
    pub fn add(&mut self, what: &str, figures: &Figures, show: impl Fn(f64) -> String, goal: Goal) {
        let (wanted, met) = match goal {
            Goal::None => (String::new(), String::new()),
            Goal::AtMost(most) => (format!("at most {}", show(most)), verdict(figures.median() <= most)),
            Goal::AtLeast(least) => (format!("at least {}", show(least)), verdict(figures.median() >= least)),
        };
        self.line([what.to_owned(), figures.shown(show), wanted, met]);
    }

    /// Adds a line of text.
    pub fn note(&mut self, what: &str, text: String) {
        self.line([what.to_owned(), text, String::new(), String::new()]);
    }

    fn line(&mut self, line: [String; 4]) {
        eprintln!("{}: {} {} {}", line[0], line[1], line[2], line[3]);
        self.lines.push(line);
    }

    /// As Markdown, for the README.
    pub fn print(&self) {
        println!("| What | Median (least to most) | Goal | Met |\n|---|---|---|---|");
        for [what, figure, goal, met] in &self.lines {
            println!("| {what} | {figure} | {goal} | {met} |");
        }
    }
}

fn verdict(met: bool) -> String {
    if met { "yes" } else { "no" }.to_owned()
}

/// A ratio.
pub fn times(ratio: f64) -> String {
    if ratio < 10.0 { format!("{ratio:.2} ×") } else { format!("{ratio:.0} ×") }
}

/// A time from seconds.
pub fn time(seconds: f64) -> String {
    match seconds {
        1.0.. => format!("{seconds:.2} s"),
        _ => format!("{:.1} ms", seconds * 1e3),
    }
}

/// Bytes.
pub fn size(bytes: f64) -> String {
    match bytes {
        1_048_576.0.. => format!("{:.1} MiB", bytes / 1_048_576.0),
        1024.0.. => format!("{:.0} KiB", bytes / 1024.0),
        _ => format!("{bytes:.0} bytes"),
    }
}

/// A count.
pub fn count(number: f64) -> String {
    format!("{number:.1}").trim_end_matches(".0").to_owned()
}

/// Seconds as a number.
pub fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}
