//! What a request tells a model of the server, which can't know it otherwise: whose
//! limits it counts against, and what it costs of them.

use http::{HeaderName, HeaderValue, Request};

use crate::render::{KEY_PLACEHOLDER, RequestCost, percent_encode};

/// Which key of the pool it has got.
#[must_use]
pub fn pool() -> HeaderName {
    HeaderName::from_static("throng-pool")
}

/// Its key in the scope at this place of the policy's.
#[must_use]
pub fn scope(place: usize) -> HeaderName {
    numbered("scope", place)
}

/// What it costs of the unit at this place of the policy's.
#[must_use]
pub fn unit(place: usize) -> HeaderName {
    numbered("unit", place)
}

fn numbered(what: &str, place: usize) -> HeaderName {
    let name = format!("throng-{what}-{place}").parse();
    name.unwrap_or_else(|_| pool())
}

/// Writes all of it into a request's headers.
pub(super) fn tell<B>(request: &mut Request<B>, price: &RequestCost, has_pool: bool) {
    let keys = price.keys.iter().enumerate();
    let keys = keys.map(|(place, key)| (scope(place), percent_encode(key)));
    let units = price.units.iter().enumerate();
    let units = units.map(|(place, units)| (unit(place), units.to_string()));
    let key = has_pool.then(|| (pool(), KEY_PLACEHOLDER.to_owned()));
    for (name, value) in keys.chain(units).chain(key) {
        if let Ok(value) = HeaderValue::try_from(value) {
            request.headers_mut().insert(name, value);
        }
    }
}
