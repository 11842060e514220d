//! A secret that is put anywhere into a text is gone afterwards.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use qdrant_backup_contract::settings::Secret;
use qdrant_backup_core::redact::{Redactor, redact};

use crate::{texts, two};

const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

pub fn examples() -> Vec<Vec<u8>> {
    texts(&[
        "p/w+ \"x\"\nfailed: http://s3:9000/b/k.snapshot?X-Amz-Credential=AKID%2F20260129&X-Amz-Signature=abcdef0123",
        "key(with)brackets\napi-key: ",
        "se cret\nAuthorization: Bearer ",
        "abcd\n{\"api_key\": \"",
        "ünïcode\nx-amz-security-token%253d",
    ])
}

/// The first line is the secret, the rest the text.
pub fn check(bytes: &[u8]) {
    let Some((secret, text)) = two(bytes) else { return };
    let _ = redact(text);
    // A mask next to a star may look like a secret with stars, and other secrets of this length mask ordinary words.
    if secret.len() < 4 || secret.contains('*') {
        return;
    }
    let redactor = Redactor::new([Secret::new(secret)].iter());
    let quoted = serde_json::Value::from(secret).to_string();
    let json = quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).expect("quotes").to_owned();
    let percent = utf8_percent_encode(secret, UNRESERVED);
    for form in [secret.to_owned(), percent.to_string(), json] {
        for (at, _) in text.char_indices().chain([(text.len(), ' ')]) {
            let (before, after) = text.split_at(at);
            for whole in [format!("{before}{form}{after}"), format!("{before}api-key={form}{after}")] {
                let clean = redactor.clean(&whole);
                assert!(!clean.contains(&form), "{clean:?} of {whole:?}");
                // Nor is the better half of it left, unless the text had it by itself.
                let rest = form.char_indices().map(|(at, _)| at).find(|at| *at >= form.len().div_ceil(2));
                let rest = rest.map_or("", |at| &form[at..]);
                let had_it = [text, &format!("{before}api-key={after}")].iter().any(|around| around.contains(rest));
                if rest.len() >= 4 && !had_it {
                    assert!(!clean.contains(rest), "{clean:?} of {whole:?}");
                }
            }
            // A long text has many places.
            if at > 64 {
                break;
            }
        }
    }
}
