//! `check`: what a backup and a restore need, without doing either.

use crate::check;
use crate::context::Context;
use crate::printable;
use crate::settings::Output;

pub(super) async fn run(context: &Context, notes: &[String]) {
    let rows = check::look(context, notes).await;
    let text = match context.settings.output {
        Output::Table => check::text(&rows),
        Output::Json => format!("{}\n", printable::json(&check::json(&rows))),
    };
    context.ports.console.data(&text);
    context.reporter.enter(rows.iter().map(check::Row::item));
}
