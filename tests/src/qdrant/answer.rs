//! Answers in Qdrant's envelope, and its errors in Qdrant's words.

use serde_json::{Value, json};

/// What a call gives: the `result`, or why it is refused.
pub type Outcome = Result<Value, Refusal>;

/// An answer other than 200.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Status code.
    pub status: u16,
    /// Qdrant's text, with its prefix.
    pub text: String,
    /// Seconds of `Retry-After`.
    pub retry_after: Option<u64>,
}

fn refusal(status: u16, text: String) -> Refusal {
    Refusal { status, text, retry_after: None }
}

/// 404: there is no such thing.
pub fn not_found(what: &str) -> Refusal {
    refusal(404, format!("Not found: {what}"))
}

/// 404: there is no such collection.
pub fn no_collection(name: &str) -> Refusal {
    not_found(&format!("Collection `{name}` doesn't exist!"))
}

/// 400: the request makes no sense here.
pub fn wrong_input(what: &str) -> Refusal {
    refusal(400, format!("Wrong input: {what}"))
}

/// 400: the request is not allowed here.
pub fn bad_request(what: &str) -> Refusal {
    refusal(400, format!("Bad request: {what}"))
}

/// 400: the body can't be read.
pub fn bad_format(what: &str) -> Refusal {
    refusal(400, format!("Format error in JSON body: {what}"))
}

/// 409: the name is taken.
pub fn exists(name: &str) -> Refusal {
    refusal(409, format!("Wrong input: Collection `{name}` already exists!"))
}

/// 403: the key or the configuration forbids it.
pub fn forbidden(what: &str) -> Refusal {
    refusal(403, format!("Forbidden: {what}"))
}

/// 422: a value is out of its range.
pub fn invalid(what: &str) -> Refusal {
    refusal(422, format!("Validation error in JSON body: {what}"))
}

/// 429: too many requests.
pub fn too_many(seconds: u64) -> Refusal {
    let text = format!(
        "Rate limiting exceeded: Read rate limit exceeded: Operation requires 1 tokens but only 0.0 were available. Retry after {seconds}s"
    );
    Refusal { retry_after: Some(seconds), ..refusal(429, text) }
}

/// 500: it went wrong.
pub fn failure(what: &str) -> Refusal {
    refusal(500, format!("Service internal error: {what}"))
}

/// The body of an answer.
pub fn body(outcome: &Outcome) -> Value {
    match outcome {
        Ok(result) => json!({"result": result, "status": "ok", "time": 0.000_1}),
        Err(refusal) => json!({"status": {"error": refusal.text}, "time": 0.000_1}),
    }
}
