//! A row whose request, or whose values, a hook of the program makes.
//!
//! A row holds no permit while it waits for a hook: its request is made before the permit is
//! asked for, and its answer is processed after the permit has ended.

use bytes::Bytes;
use http::{Request, Uri};
use serde_json::Value;

use super::RowExecutor;
use super::attempt::{AttemptTrace, Cancelled, RequestExecutor};
use crate::extract;
use crate::format::{KeepBody, RESERVED};
use crate::hooks::{self, Processed, RequestHook, ResponseHook, ResponseStep};
use crate::judge::{Decision, Meaning, TableRow};
use crate::limit::Cost;
use crate::record::{Failure, FailureKind, Record};
use crate::row::{Fields, Item, Row};
use crate::send::Answer;

impl RequestExecutor {
    /// Has a hook process an answer. A hook that has no result also decides what becomes of the
    /// row, like a rule of the job.
    pub(super) async fn process(
        &self,
        hook: &dyn ResponseHook,
        answer: &Answer,
        url: &Uri,
        row: Option<&Row>,
    ) -> (Result<Processed, Failure>, Option<Decision>) {
        let none = Row::default();
        let answer = hooks::Answer {
            status: answer.status,
            headers: answer.headers.clone(),
            url: url.clone(),
            body: answer.body.clone(),
        };
        let aborted = self.context.shutdown.aborted();
        let processed = tokio::select! {
            biased;
            processed = hooks::call(|| hook.process(row.unwrap_or(&none), answer)) => processed,
            () = aborted => {
                let why = "the run ended before the hook had processed the answer";
                let failure = Failure::new(FailureKind::Interrupted, why);
                return (Err(failure), Some(ruled(Meaning::Fail)));
            }
        };
        match processed {
            Ok(processed) => (Ok(processed), None),
            Err(error) => {
                let failure = Failure::new(FailureKind::Hook, self.hidden(error.reason()));
                let then = if error.is_retry() { Meaning::Retry } else { Meaning::Fail };
                (Err(failure), Some(Decision { pause: error.pause(), ..ruled(then) }))
            }
        }
    }

    fn hidden(&self, reason: &str) -> String {
        self.context.plan.secrets.hide(reason.to_owned())
    }
}

/// The decision of a hook, which stands before all rules of the job.
fn ruled(then: Meaning) -> Decision {
    Decision { then, row: TableRow::Answer(0), ..Decision::default() }
}

impl RowExecutor {
    /// The request that a hook makes of a row, and its cost.
    pub(super) async fn hook_request(
        &self,
        hook: &dyn RequestHook,
        row: &Row,
    ) -> Result<Result<(Request<Bytes>, Cost), Failure>, Cancelled> {
        let made = self.requests.unless_stopped(hooks::call(|| hook.request(row))).await?;
        let made = made.map_err(|error| {
            Failure::new(FailureKind::Input, self.requests.hidden(error.reason()))
        });
        Ok(made.and_then(|made| {
            let (mut request, cost) = self.stage().complete(row, made)?;
            self.make_sendable(row, &mut request)?;
            Ok((request, cost))
        }))
    }

    /// Ends a row with the values that a hook has made of its answer.
    pub(super) async fn end_hooked<E: AsyncFn(Record)>(
        &self,
        row: Row,
        mut trace: AttemptTrace,
        answer: Answer,
        emit: &E,
    ) -> Result<(), Cancelled> {
        let (Some(step), Some(result)) = (&self.stage().hooks.response, trace.hooked.take()) else {
            return Ok(());
        };
        let body = match self.stage().keep_body {
            KeepBody::All => extract::text(&answer.body, &answer.read_as_is()).ok(),
            _ => None,
        };
        let body = body.map(|text| text.into_owned());
        let several = match *result {
            Ok(Processed::Records(records)) if step.many => records.into_iter().map(Ok).collect(),
            Ok(Processed::Records(records)) => {
                let why = format!(
                    "the hook gave {} records, and a row of this job has one",
                    records.len()
                );
                vec![Err(Failure::new(FailureKind::Hook, why))]
            }
            Ok(Processed::Values(values)) => vec![Ok(values)],
            Err(failure) => vec![Err(failure)],
        };
        if !step.many {
            for values in several {
                let record = self.hooked_record(row.clone(), &mut trace, step, values);
                emit(Record { body: body.clone().or(record.body), ..record }).await;
            }
            return Ok(());
        }
        self.emit_several(row, trace, step, several, emit).await;
        Ok(())
    }

    /// Emits the records of one row, but for those that an earlier run has written.
    async fn emit_several<E: AsyncFn(Record)>(
        &self,
        row: Row,
        mut trace: AttemptTrace,
        step: &ResponseStep,
        several: Vec<Result<Fields, Failure>>,
        emit: &E,
    ) {
        let progress = self.requests.context.plan.output.progress(&row).cloned();
        let last = several.len().checked_sub(1);
        let Some(last) = last else {
            let mut row = row;
            row.item = Some(Item { number: None, last: true });
            emit(self.record_of(row, trace, Ok(Vec::new()))).await;
            return;
        };
        for (number, values) in several.into_iter().enumerate() {
            if progress.as_ref().is_some_and(|progress| progress.has(number as u64)) {
                continue;
            }
            let mut row = row.clone();
            row.item = Some(Item { number: Some(number as u64), last: number == last });
            emit(self.hooked_record(row, &mut trace, step, values)).await;
        }
    }

    /// The record of a row with the values of a hook: in the order of the job's names, or among
    /// the fields of the row, where only the hook knows their names.
    fn hooked_record(
        &self,
        mut row: Row,
        trace: &mut AttemptTrace,
        step: &ResponseStep,
        values: Result<Fields, Failure>,
    ) -> Record {
        let outcome = values.and_then(|values| match &step.values {
            Some(names) => named(names, values),
            None => {
                self.add_to_row(&mut row, values)?;
                Ok(Vec::new())
            }
        });
        self.record_of(row, trace.take(), outcome)
    }

    fn add_to_row(&self, row: &mut Row, values: Fields) -> Result<(), Failure> {
        if let Some(name) = values.keys().find(|name| RESERVED.contains(&name.as_str())) {
            let why = format!("the hook gave a value {name}, which is a name of throng's own");
            return Err(Failure::new(FailureKind::Hook, why));
        }
        let secrets = self.requests.context.plan.secrets_of_records();
        for (name, mut value) in values {
            if let Some(secrets) = secrets {
                secrets.hide_in_value(&mut value);
            }
            row.fields.insert(name, value);
        }
        Ok(())
    }
}

/// The values with these names, in their order. A name that ends in `?` may be missing.
fn named(names: &[String], mut values: Fields) -> Result<Vec<Value>, Failure> {
    let value = |name: &String| {
        let (name, is_optional) = match name.strip_suffix('?') {
            Some(name) => (name, true),
            None => (name.as_str(), false),
        };
        match values.remove(name).filter(|value| !value.is_null()) {
            Some(value) => Ok(value),
            None if is_optional => Ok(Value::Null),
            None => Err(Failure::new(
                FailureKind::MissingValue(name.to_owned()),
                "the hook gave no such value",
            )),
        }
    };
    names.iter().map(value).collect()
}
