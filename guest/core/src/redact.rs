//! Keeps secrets out of everything that is printed, whoever wrote the text.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::settings::Secret;

const MASK: &str = "***";

/// Names after which a secret stands: in a presigned URL (plain or escaped), in headers and in JSON.
const MARKERS: &[&str] = &[
    "x-amz-signature",
    "x-amz-credential",
    "x-amz-security-token",
    "signature",
    "credential",
    "api-key",
    "api_key",
    "authorization",
];

/// Of them those whose values have no characters that end a value somewhere. The others are masked where the secrets
/// themselves are known, or half of one would stay.
const OF_LINKS: &[&str] = &["x-amz-signature", "x-amz-credential", "signature", "credential"];

/// What stays as it is in a URL (RFC 3986, unreserved).
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Masks what stands after a name such as `X-Amz-Signature=` or `api-key:`, in any case, also when the text
/// around it was percent-encoded.
pub fn redact(text: &str) -> Cow<'_, str> {
    mask(text, MARKERS)
}

/// Masks the signatures of links, for texts that a [`Redactor`] is still to see.
pub fn redact_links(text: &str) -> Cow<'_, str> {
    mask(text, OF_LINKS)
}

fn mask<'a>(text: &'a str, markers: &[&str]) -> Cow<'a, str> {
    let lower = text.to_ascii_lowercase();
    let mut masked = String::new();
    let mut copied = 0;
    let mut at = 0;
    while let Some((found, end)) = next_marker(&lower, at, markers) {
        at = end;
        let Some((from, to)) = lower.get(end..).and_then(value).map(|(from, to)| (end + from, end + to)) else {
            continue;
        };
        // Anything else of a URL or header stays readable.
        let (Some(before), true) = (text.get(copied..from), found >= copied) else { continue };
        masked.push_str(before);
        masked.push_str(MASK);
        copied = to;
        at = to;
    }
    match text.get(copied..) {
        Some(rest) if copied > 0 => Cow::Owned(masked + rest),
        _ => Cow::Borrowed(text),
    }
}

/// Start and end of the first marker at or after `at`.
fn next_marker(lower: &str, at: usize, markers: &[&str]) -> Option<(usize, usize)> {
    let rest = lower.get(at..)?;
    markers
        .iter()
        .filter_map(|marker| rest.find(marker).map(|start| (at + start, at + start + marker.len())))
        .min_by_key(|(start, end)| (*start, std::cmp::Reverse(*end)))
}

/// Where in `rest`, the text after a marker, its value stands; `None` where none follows.
fn value(rest: &str) -> Option<(usize, usize)> {
    // Within a link that is escaped, the separators are, too; within one that is not, `%26` belongs to a value.
    let separators = [("%253d", "%2526"), ("%3d", "%26"), ("\\\":", "&"), ("\":", "&"), ("=", "&"), (":", "&")];
    let (begin, separator) = separators.into_iter().find(|(begin, _)| rest.starts_with(begin))?;
    let skipped = begin.len();
    let after = rest.get(skipped..)?;
    let start = skipped + after.find(|c: char| !matches!(c, ' ' | '"' | '\\'))?;
    let after = rest.get(start..)?;
    // The scheme of an Authorization header, then its value; the value's own markers come later.
    let scheme = ["bearer ", "basic "].into_iter().find(|scheme| after.starts_with(scheme)).map_or(0, str::len);
    let after = after.get(scheme..)?;
    let end = after
        .find(|c: char| {
            !(c.is_ascii_alphanumeric() || matches!(c, '%' | '/' | '+' | '=' | '.' | '_' | '-' | '~' | '!' | '$' | '*'))
        })
        .unwrap_or(after.len());
    let end = after.get(..end).and_then(|value| value.find(separator)).unwrap_or(end);
    (end > 0).then_some((start + scheme, start + scheme + end))
}

/// Masks the secrets of a run themselves, wherever they turn up, besides what [`redact`] finds by name.
#[derive(Clone, Default)]
pub struct Redactor {
    forms: Vec<String>,
}

impl Redactor {
    /// A redactor that knows `secrets`. Those of less than 4 characters would mask ordinary text and are left to
    /// [`redact`].
    pub fn new<'a>(secrets: impl Iterator<Item = &'a Secret>) -> Self {
        let mut forms = Vec::new();
        for secret in secrets.map(Secret::reveal).filter(|secret| secret.len() >= 4) {
            for form in [secret.to_owned(), utf8_percent_encode(secret, UNRESERVED).to_string(), json_escaped(secret)] {
                if !forms.contains(&form) {
                    forms.push(form);
                }
            }
        }
        // The longest first: one secret may begin with another.
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        Self { forms }
    }

    /// `text` without secrets.
    pub fn clean<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut clean = Cow::Borrowed(text);
        for form in &self.forms {
            if clean.contains(form.as_str()) {
                clean = Cow::Owned(clean.replace(form.as_str(), MASK));
            }
        }
        // Last: what it takes for the end of a value may be in the midst of a secret.
        match redact(&clean) {
            Cow::Borrowed(_) => clean,
            Cow::Owned(masked) => Cow::Owned(masked),
        }
    }
}

fn json_escaped(secret: &str) -> String {
    let quoted = serde_json::Value::from(secret).to_string();
    quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_presigned_url_is_masked_and_stays_readable() {
        let url = "failed: http://s3:9000/b/k.snapshot?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKID%2F20260129%2Feu%2Fs3%2Faws4_request\
                   &X-Amz-Date=20260129T114422Z&X-Amz-Expires=3600&X-Amz-Security-Token=tok%2Fen%3D%3D&X-Amz-SignedHeaders=host&X-Amz-Signature=abcdef0123: status 403";
        assert_eq!(
            redact(url),
            "failed: http://s3:9000/b/k.snapshot?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=***\
             &X-Amz-Date=20260129T114422Z&X-Amz-Expires=3600&X-Amz-Security-Token=***&X-Amz-SignedHeaders=host&X-Amz-Signature=***: status 403"
        );
    }

    #[test]
    fn escaped_urls_headers_and_json_are_masked() {
        for text in [
            "u=http%3A%2F%2Fs3%3Fx-amz-signature%3Dabcdef0123%26x-amz-date%3D1",
            "u=http%253A%252F%252Fs3%253Fx-amz-signature%253Dabcdef0123%2526x",
            r#"{"api-key": "abcdef0123"}"#,
            r#"{\"api-key\": \"abcdef0123\"}"#,
            "api-key: abcdef0123",
            "Authorization: Bearer abcdef0123",
            "Authorization: AWS4-HMAC-SHA256 Credential=AKID/20260129/eu/s3/aws4_request, SignedHeaders=host, Signature=abcdef0123",
            "X-AMZ-SIGNATURE=abcdef0123",
        ] {
            let masked = redact(text);
            assert!(!masked.contains("abcdef0123") && masked.contains(MASK), "{masked}");
        }
        assert!(redact("x%3Fx-amz-signature%3Dabcdef0123%26x-amz-date%3D1").ends_with("%26x-amz-date%3D1"));
        let double = "x%253Fx-amz-signature%253Dabcdef0123%2526x-amz-date%253D1";
        assert!(redact(double).ends_with("%2526x-amz-date%253D1"));
        assert_eq!(redact("X-Amz-Security-Token=a%26b%2Fc&X-Amz-Date=1"), "X-Amz-Security-Token=***&X-Amz-Date=1");
    }

    #[test]
    fn other_text_is_left_alone() {
        for text in ["", "the signature does not match", "Invalid API key or JWT", "größe: 5", "api-key", "signature="]
        {
            assert!(matches!(redact(text), Cow::Borrowed(_)), "{text}");
        }
    }

    #[test]
    fn known_secrets_are_masked_in_every_form() {
        let secrets = [Secret::new("p/w+ \"x\""), Secret::new("p/w+"), Secret::new("abc")];
        let redactor = Redactor::new(secrets.iter());
        for text in ["a p/w+ \"x\" b", "a p%2Fw%2B%20%22x%22 b", "a p/w+ \\\"x\\\" b", "a p/w+ b"] {
            let masked = redactor.clean(text);
            assert!(masked.starts_with("a ***") && !masked.contains("p/w") && !masked.contains("p%2F"), "{masked}");
        }
        assert_eq!(redactor.clean("abc"), "abc");
        // Also where their name stands in front and they have characters that end a value.
        let redactor = Redactor::new([Secret::new("key(with){brackets}\"")].iter());
        for text in ["api-key: key(with){brackets}\" b", r#"{"api-key":"key(with){brackets}\""}"#] {
            let masked = redactor.clean(text);
            assert!(!masked.contains("with") && !masked.contains("brackets"), "{masked}");
        }
    }
}
