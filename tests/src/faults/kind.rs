//! Every way in which one request goes wrong.

use std::time::Duration;

use super::fault::{Canned, Wrong};

/// How long a server is away that refuses.
pub const AWAY: Duration = Duration::from_millis(300);

/// How long a stalled request takes: longer than the program waits.
pub const STALL: Duration = Duration::from_secs(6);

/// One way.
#[derive(Clone, Debug)]
pub struct Kind {
    /// What it is called in the table.
    pub group: &'static str,
    /// What sets it apart within its group.
    pub form: &'static str,
    /// What goes wrong.
    pub wrong: Wrong,
    /// How often: once, or always.
    pub times: usize,
}

impl Kind {
    /// True where the server does the work twice by itself.
    pub fn is_twice(&self) -> bool {
        matches!(self.wrong, Wrong::Twice)
    }
}

/// Whose words an answer is in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// JSON in Qdrant's envelope.
    Qdrant,
    /// XML.
    S3,
}

const STATUSES: [(u16, &str, &str); 6] = [
    (408, "408", "RequestTimeout"),
    (429, "429", "TooManyRequests"),
    (500, "500", "InternalError"),
    (502, "502", "BadGateway"),
    (503, "503", "SlowDown"),
    (504, "504", "GatewayTimeout"),
];

/// All ways, for a request of `api`.
pub fn kinds(api: Api) -> Vec<Kind> {
    let once = |group, form, wrong| Kind { group, form, wrong, times: 1 };
    let always = |form, wrong| Kind { group: "always", form, wrong, times: usize::MAX };
    let mut kinds = vec![
        once("refused", "", Wrong::Refuse(AWAY)),
        once("reset", "", Wrong::Reset),
        once("reset within", "", Wrong::ResetWithin),
        once("stall", "", Wrong::Stall(STALL)),
        once("drip", "", Wrong::Drip(Duration::from_millis(40))),
        once("truncated", "", Wrong::TruncateHalf),
        // As Qdrant ends a stream that it gives up.
        once("ends early", "", Wrong::Short(700)),
        once("garbage", "", Wrong::Answer(garbage())),
        once("not HTTP", "", Wrong::NotHttp),
        once("wrong shape", "strange", Wrong::Answer(strange(api))),
        once("wrong shape", "null", Wrong::Answer(null(api))),
        once("error in a 200", "", Wrong::Answer(native(api, 200, "InternalError"))),
        once("lost", "", Wrong::Lost),
        once("twice", "", Wrong::Twice),
        once("done, but", "500", Wrong::DoneBut(native(api, 500, "InternalError"))),
        once("done, but", "502", Wrong::DoneBut(html(502))),
        once("done, but", "503", Wrong::DoneBut(text(503))),
        once("done, but", "504", Wrong::DoneBut(empty(504))),
        once("done, but", "garbage", Wrong::DoneBut(garbage())),
        always("500", Wrong::Answer(native(api, 500, "InternalError"))),
        always("503", Wrong::Answer(text(503))),
        always("403", Wrong::Answer(native(api, 403, "AccessDenied"))),
        always("reset", Wrong::Reset),
        always("garbage", Wrong::Answer(garbage())),
    ];
    for (status, group, code) in STATUSES {
        // The server's own wish comes with the first form only, so that the others wait less.
        let wish = Canned { retry_after: (status == 429).then_some(1), ..native(api, status, code) };
        kinds.push(once(group, "own words", Wrong::Answer(wish)));
        kinds.push(once(group, "text", Wrong::Answer(text(status))));
        kinds.push(once(group, "empty", Wrong::Answer(empty(status))));
        kinds.push(once(group, "HTML", Wrong::Answer(html(status))));
    }
    kinds
}

fn canned(status: u16, content_type: &'static str, body: impl Into<Vec<u8>>) -> Canned {
    Canned { status, retry_after: None, content_type, body: body.into() }
}

/// As the server itself says it.
pub fn native(api: Api, status: u16, code: &str) -> Canned {
    match api {
        Api::Qdrant => canned(
            status,
            "application/json",
            format!("{{\"status\":{{\"error\":\"Service internal error: {code} on purpose\"}},\"time\":0.001}}"),
        ),
        Api::S3 => canned(
            status,
            "application/xml",
            format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>on purpose</Message></Error>"
            ),
        ),
    }
}

fn text(status: u16) -> Canned {
    canned(status, "text/plain", "upstream connect error or disconnect/reset before headers")
}

fn empty(status: u16) -> Canned {
    canned(status, "text/plain", "")
}

fn html(status: u16) -> Canned {
    canned(
        status,
        "text/html",
        format!("<html><head><title>{status}</title></head><body><h1>{status}</h1><hr>nginx</body></html>"),
    )
}

fn garbage() -> Canned {
    canned(200, "application/json", (0..200_u8).map(|byte| byte.wrapping_mul(151)).collect::<Vec<u8>>())
}

/// Well-formed, and not what was asked for.
fn strange(api: Api) -> Canned {
    match api {
        Api::Qdrant => canned(
            200,
            "application/json",
            "{\"result\":{\"strange\":[1,{\"a\":null}],\"name\":7},\"status\":\"ok\",\"time\":0.001}",
        ),
        Api::S3 => canned(200, "application/xml", "<?xml version=\"1.0\"?><Strange><Thing>1</Thing></Strange>"),
    }
}

fn null(api: Api) -> Canned {
    match api {
        Api::Qdrant => canned(200, "application/json", "{\"result\":null,\"status\":\"ok\",\"time\":0.001}"),
        Api::S3 => canned(200, "application/json", "null"),
    }
}
