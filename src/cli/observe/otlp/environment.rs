//! Where the data of OpenTelemetry go, by its standard variables. Pure.

use http::Uri;
use opentelemetry_otlp::Protocol;

use crate::Error;

/// The base of the endpoints, unless the environment has another.
const BASE: &str = "http://localhost:4318";

/// A kind of data, each of which has variables of its own.
pub struct Signal {
    /// Its name in the names of variables.
    name: &'static str,
    /// Its path below the base of the endpoints.
    path: &'static str,
}

pub const TRACES: Signal = Signal { name: "TRACES", path: "/v1/traces" };
pub const METRICS: Signal = Signal { name: "METRICS", path: "/v1/metrics" };

/// Where data go, and their form.
#[derive(Debug, PartialEq)]
pub struct Target {
    pub endpoint: String,
    pub protocol: Protocol,
}

/// The values of variables that are not empty.
type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Signal {
    /// Where its data go; none if the environment turns them off.
    ///
    /// # Errors
    /// The endpoint is no URL, or the protocol is another one.
    pub fn target(&self, environment: Environment<'_>) -> Result<Option<Target>, Error> {
        let is = |name: &str, value: &str| {
            environment(name).is_some_and(|set| set.eq_ignore_ascii_case(value))
        };
        let exporter = format!("OTEL_{}_EXPORTER", self.name);
        if is("OTEL_SDK_DISABLED", "true") || is(&exporter, "none") {
            return Ok(None);
        }
        let (endpoint, protocol) = (self.endpoint(environment)?, self.protocol(environment)?);
        Ok(Some(Target { endpoint, protocol }))
    }

    fn endpoint(&self, environment: Environment<'_>) -> Result<String, Error> {
        let (own, all) = (self.variable("ENDPOINT"), "OTEL_EXPORTER_OTLP_ENDPOINT");
        let (name, endpoint) = match (environment(&own), environment(all)) {
            (Some(endpoint), _) => (&*own, endpoint),
            (None, base) => {
                let base = base.unwrap_or_else(|| BASE.to_owned());
                (all, format!("{}{}", base.trim_end_matches('/'), self.path))
            }
        };
        let is_url = endpoint.parse::<Uri>().is_ok_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some()
        });
        // The URL itself may have a password.
        is_url.then_some(endpoint).ok_or_else(|| {
            Error::plan(format!("{name} is no URL of HTTP (--otlp): write it as {BASE}"))
        })
    }

    fn protocol(&self, environment: Environment<'_>) -> Result<Protocol, Error> {
        let (own, all) = (self.variable("PROTOCOL"), "OTEL_EXPORTER_OTLP_PROTOCOL");
        let protocol = environment(&own).or_else(|| environment(all));
        match protocol.as_deref() {
            None | Some("http/protobuf") => Ok(Protocol::HttpBinary),
            Some("http/json") => Ok(Protocol::HttpJson),
            Some(other) => Err(Error::plan(format!(
                "{all} is {other:?} (--otlp): throng sends http/protobuf or http/json, which collectors take at port 4318"
            ))),
        }
    }

    fn variable(&self, name: &str) -> String {
        format!("OTEL_EXPORTER_OTLP_{}_{name}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(signal: &Signal, variables: &[(&str, &str)]) -> Result<Option<Target>, String> {
        let value = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        signal.target(&value).map_err(|error| error.to_string())
    }

    fn endpoint(signal: &Signal, variables: &[(&str, &str)]) -> String {
        target(signal, variables).unwrap().unwrap().endpoint
    }

    const ALL: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

    #[test]
    fn a_signal_has_its_own_endpoint_or_a_path_below_that_of_all() {
        assert_eq!(endpoint(&TRACES, &[]), "http://localhost:4318/v1/traces");
        assert_eq!(endpoint(&METRICS, &[(ALL, "https://a/otlp/")]), "https://a/otlp/v1/metrics");
        let own = [(ALL, "http://a"), ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://b/x")];
        assert_eq!(endpoint(&TRACES, &own), "http://b/x");
        assert_eq!(endpoint(&METRICS, &own), "http://a/v1/metrics");
    }

    #[test]
    fn what_can_t_be_obeyed_is_an_error_that_tells_no_password() {
        for wrong in ["localhost:4318", "grpc://u:hunter2@a", "/v1/traces"] {
            let error = target(&TRACES, &[(ALL, wrong)]).unwrap_err();
            assert!(error.contains(ALL) && error.contains("http://localhost:4318"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        let error = target(&METRICS, &[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]).unwrap_err();
        assert!(error.contains("\"grpc\"") && error.contains("4318"), "{error}");
    }

    #[test]
    fn signals_are_turned_off_by_the_environment() {
        assert_eq!(target(&TRACES, &[("OTEL_TRACES_EXPORTER", "none")]), Ok(None));
        assert!(target(&METRICS, &[("OTEL_TRACES_EXPORTER", "none")]).unwrap().is_some());
        assert_eq!(target(&METRICS, &[("OTEL_SDK_DISABLED", "true")]), Ok(None));
    }
}
