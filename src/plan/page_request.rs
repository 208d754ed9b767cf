//! The requests of a row's pages: the row's own, with the parameter that selects the page. Pure.

use bytes::Bytes;
use http::Request;
use serde_json::Value;

use super::Stage;
use crate::pages::PageAddress;
use crate::record::{Failure, FailureKind};
use crate::render::with_param;
use crate::row::Row;
use crate::store::RequestKey;
use crate::wording::worded;

/// The hashes of the requests whose answers may be a row's: of its own, and of those of the
/// fallbacks that stand in for it.
pub(super) fn answer_keys(
    first: &Stage,
    fallbacks: &[Stage],
    row: &Row,
    key: impl Fn(&Request<Bytes>) -> RequestKey,
) -> Result<Vec<RequestKey>, Failure> {
    let own = key(&first.first_request(row)?);
    let others = fallbacks.iter().filter_map(|stage| stage.first_request(row).ok());
    let others = others.map(|request| key(&request).in_place_of(own));
    Ok(std::iter::once(own).chain(others).collect())
}

impl Stage {
    /// The first request of a row.
    pub(crate) fn first_request(&self, row: &Row) -> Result<Request<Bytes>, Failure> {
        let address = self.pages.as_ref().map_or(PageAddress::First, |pages| pages.address(0));
        self.page_request(row, &address)
    }

    /// The request of a row's page that no other page names.
    pub(crate) fn page_request(
        &self,
        row: &Row,
        address: &PageAddress,
    ) -> Result<Request<Bytes>, Failure> {
        let PageAddress::Param(name, value) = address else {
            return self.render(row);
        };
        // A field of a template, or else a parameter of the query.
        if self.renderer.fields().contains(name) {
            let mut row = row.clone();
            row.fields.insert(name.to_owned(), value.clone());
            return self.render(&row);
        }
        let mut request = self.render(row)?;
        set_param(&mut request, name, value)?;
        Ok(request)
    }
}

/// Sets a parameter in the query of a request, unless its value is null.
pub(crate) fn set_param(
    request: &mut Request<Bytes>,
    name: &str,
    value: &Value,
) -> Result<(), Failure> {
    let text = match value {
        Value::Null => return Ok(()),
        Value::String(text) => text.clone(),
        Value::Array(_) | Value::Object(_) => {
            let why = format!(
                "pages.cursor gave {value}, which is no text or number: in a body it may be any value, such as --json '{{\"{name}\": \"{{{{ {name} }}}}\"}}'"
            );
            return Err(Failure::new(FailureKind::MissingNextPage, worded(why)));
        }
        other => other.to_string(),
    };
    let uri = with_param(request.uri(), name, &text);
    *request.uri_mut() = uri.map_err(|why| Failure::new(FailureKind::Input, why))?;
    Ok(())
}
