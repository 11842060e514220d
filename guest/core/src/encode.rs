//! Writing structures as JSON.

use serde::Serialize;

use crate::error::{Code, Error};

/// `value` as JSON for programs and people: indented. `thing` is what it is, for the error.
///
/// # Errors
/// JSON has no form for it ([`Code::ManifestUnusable`]).
pub(crate) fn json<T: Serialize>(thing: &str, value: &T) -> Result<Vec<u8>, Error> {
    serde_json::to_vec_pretty(value)
        .map_err(|error| Error::new(Code::ManifestUnusable, thing, format!("it can't be written as JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn what_json_has_no_form_for_is_told_by_its_name() {
        let error = json("the record `r`", &BTreeMap::from([((1, 2), 3)])).map_err(|error| error.to_string());
        assert!(error.as_ref().is_err_and(|text| text.starts_with("the record `r`: it can't be written")), "{error:?}");
    }
}
