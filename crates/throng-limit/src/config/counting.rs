//! How a server counts what it limits: which kind, as the text of a limit names it.

use std::fmt;

use jiff::tz::TimeZone;

use crate::config::Rate;
use crate::kinds::sliding::SLIDING;
use crate::kinds::{Form, KINDS, Measure, Spec};

/// How a server counts what it limits: in windows, by a bucket, over the whole run.
#[derive(Clone)]
pub struct Counting {
    spec: &'static Spec,
    /// The time zone at whose midnight windows begin.
    zone: Option<String>,
}

/// What the text of a limit says of its kind.
pub(crate) struct KindText<'a> {
    /// What stands before the colon.
    pub prefix: Option<&'a str>,
    /// What stands behind the `@`.
    pub edge: Option<&'a str>,
    /// Whether the period is the whole run.
    pub is_total: bool,
}

impl Counting {
    /// The kind that a text names for this amount.
    pub(crate) fn read(text: &KindText<'_>, amount: Rate) -> Result<Counting, String> {
        let form = match (text.prefix, text.edge, text.is_total) {
            (None, None, true) => Form::Total,
            (_, _, true) => return Err("a total for the run has no kind and no edges".into()),
            (None, None, _) => Form::Plain,
            (None | Some("fixed"), Some(edge), _) => edge_form(edge)?,
            (Some("fixed"), None, _) => {
                return Err(format!(
                    "say where fixed windows begin: {}, or @ and a time zone",
                    edges()
                ));
            }
            (Some(prefix), edge, _) => {
                let form = prefix_form(prefix)?;
                if edge.is_some() {
                    return Err("only fixed windows have edges (@)".into());
                }
                form
            }
        };
        let zone = text.edge.filter(|_| form == Form::Zone);
        let counting =
            Counting { spec: with_form(form).unwrap_or(&SLIDING), zone: zone.map(str::to_owned) };
        match (counting.spec.period_error)(amount.period) {
            Some(why) => Err(why.to_owned()),
            None => Ok(counting),
        }
    }

    pub(crate) fn spec(&self) -> &'static Spec {
        self.spec
    }

    /// The time zone at whose midnight windows begin, if they do.
    #[doc(hidden)]
    #[must_use]
    pub fn zone(&self) -> Option<TimeZone> {
        TimeZone::get(self.zone.as_ref()?).ok()
    }

    /// Whether the amount is a ceiling below which the limit is found out by being refused.
    #[must_use]
    pub fn is_found_out(&self) -> bool {
        self.spec.is_found_out
    }

    /// Whether the amount is a total for the whole run.
    #[must_use]
    pub fn is_total(&self) -> bool {
        self.spec.form == Form::Total
    }

    /// What the times of arrivals prove of a limit of this amount and burst; none if only
    /// the server knows whether it was kept.
    pub(crate) fn measure(&self, units: u64, burst: Option<u64>) -> Option<Measure> {
        self.spec.measure.map(|measure| measure(units, burst))
    }

    /// The name under which a test server counts in the same way, if there is one.
    #[must_use]
    pub fn model(&self) -> Option<&'static str> {
        self.spec.model
    }

    /// In which way that test server differs from the real one, as a sentence on `limit`.
    #[must_use]
    pub fn model_differs(&self, limit: &str) -> Option<String> {
        self.spec.model_differs.map(|differs| differs(limit))
    }

    /// What stands before the amount, with its colon.
    pub(crate) fn prefix(&self) -> String {
        match self.spec.form {
            Form::Prefix(prefix) => format!("{prefix}:"),
            _ => String::new(),
        }
    }

    /// What stands behind the period, with its `@`.
    pub(crate) fn suffix(&self) -> String {
        match (self.spec.form, &self.zone) {
            (Form::Edge(edge), _) => format!("@{edge}"),
            (Form::Zone, Some(zone)) => format!("@{zone}"),
            _ => String::new(),
        }
    }
}

impl Default for Counting {
    /// In every window, whenever it begins.
    fn default() -> Counting {
        Counting { spec: &SLIDING, zone: None }
    }
}

impl PartialEq for Counting {
    fn eq(&self, other: &Counting) -> bool {
        (self.spec.form, &self.zone) == (other.spec.form, &other.zone)
    }
}

impl Eq for Counting {}

impl fmt::Debug for Counting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}{}", self.spec.form, self.suffix())
    }
}

fn with_form(form: Form) -> Option<&'static Spec> {
    let mut kinds = KINDS.iter();
    kinds.find(|spec| spec.form == form).copied()
}

fn prefix_form(prefix: &str) -> Result<Form, String> {
    let forms = || KINDS.iter().map(|spec| spec.form);
    let named = |form: &Form| matches!(form, Form::Prefix(known) if *known == prefix);
    forms().find(named).ok_or_else(|| {
        let mut known: Vec<String> =
            forms().filter_map(|form| Some(format!("{}:", form.prefix()?))).collect();
        known.dedup();
        let last = known.pop().unwrap_or_default();
        let others = known.join(", ");
        format!("\"{prefix}:\" is not one of {others} and {last}")
    })
}

fn edge_form(edge: &str) -> Result<Form, String> {
    let mut forms = KINDS.iter().map(|spec| spec.form);
    let named = |form: &Form| matches!(form, Form::Edge(known) if *known == edge);
    if let Some(form) = forms.find(named) {
        return Ok(form);
    }
    match TimeZone::get(edge) {
        Ok(_) => Ok(Form::Zone),
        Err(_) => Err(format!(
            "\"@{edge}\" is not {}, or a time zone such as @America/Los_Angeles",
            edges()
        )),
    }
}

/// The edges that have names, as messages list them.
fn edges() -> String {
    let named = KINDS.iter().filter_map(|spec| match spec.form {
        Form::Edge(edge) => Some(format!("@{edge}")),
        _ => None,
    });
    named.collect::<Vec<_>>().join(", ")
}
