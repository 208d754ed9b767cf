//! A row whose answer has pages, items, or both.
//!
//! A page's request is tried again like any other, and each attempt has its own
//! permit. Items leave as soon as they have come, so that a row with very many
//! pages needs no more memory than one with few.

use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;
use http::Request;
use serde_json::Value;
use tokio::task::JoinHandle;

use super::gather::Gather;
use super::{Errand, Seen, Stopped, Terms, Walk};
use crate::extract::{Input, parse};
use crate::judge::Tries;
use crate::limit::Ask;
use crate::pages::{self, Pages, Turn};
use crate::record::{Failure, Record};
use crate::render::with_param;
use crate::send::Answer;
use crate::send::redirect::{self, Trust};
use crate::source::Row;

/// Pages of one row that are fetched at the same time, where their number is known.
const AHEAD: usize = 16;

/// A request, and whether it may carry what is the job's own.
type Asked = (Request<Bytes>, Trust);

/// One page: what was asked, and what came.
pub(super) struct Page {
    asked: Option<Asked>,
    pub seen: Seen,
    pub outcome: Result<Read, Failure>,
}

/// An answer, and its body as jq takes it, where that is needed.
pub(super) struct Read {
    pub answer: Answer,
    pub body: Option<Input>,
}

/// What comes after a page.
enum Then {
    /// The page at this turn.
    Page(Turn),
    /// So many pages in all, in any order.
    Rest(u64),
    Nothing,
}

impl Walk {
    /// Takes a row to the records of its pages and items.
    pub(super) async fn paged<E: AsyncFn(Record)>(
        self: &Rc<Self>,
        row: Row,
        emit: &E,
    ) -> Result<(), Stopped> {
        let mut gather = Gather::new(self, row, emit);
        let mut turn = self.pages().map_or(Turn::Plain, |pages| pages.at(0));
        let mut before = None;
        for number in 0.. {
            let page = self
                .page(gather.row(), number, &turn, before.as_ref())
                .await?;
            match self.after(number, &turn, &page, gather.take(&page).await) {
                Ok(Then::Page(next)) => turn = next,
                Ok(Then::Rest(count)) => return self.rest(count, gather).await,
                Ok(Then::Nothing) => return gather.end(Ok(())).await,
                Err(failure) => return gather.end(Err(failure)).await,
            }
            before = page.asked;
        }
        Ok(())
    }

    fn pages(&self) -> Option<&Pages> {
        self.step().pages.as_ref()
    }

    /// What comes after a page of which so many items were taken.
    fn after(
        &self,
        number: u64,
        turn: &Turn,
        page: &Page,
        items: Result<Option<usize>, Failure>,
    ) -> Result<Then, Failure> {
        let (items, read) = (items?, page.outcome.as_ref().map_err(Clone::clone)?);
        let Some(pages) = self.pages() else {
            return Ok(Then::Nothing);
        };
        let untold = |why| Failure::new("missing next page", why);
        let body = read.body.as_ref();
        if let Some(count) = pages.count(body).map_err(untold)? {
            return Ok(Then::Rest(count));
        }
        let page = pages::Page {
            number,
            turn,
            headers: &read.answer.headers,
            body,
            items,
        };
        let next = pages.next(&page).map_err(untold)?;
        Ok(next.map_or(Then::Nothing, Then::Page))
    }

    /// The pages after the first one, several at a time, taken in their order.
    async fn rest<E: AsyncFn(Record)>(
        self: &Rc<Self>,
        count: u64,
        mut gather: Gather<'_, E>,
    ) -> Result<(), Stopped> {
        let row = Rc::new(gather.row().clone());
        let mut numbers = 1..count;
        let mut ahead = Ahead::default();
        loop {
            while ahead.0.len() < AHEAD.min(self.run.plan.crew_at(self.place).in_flight)
                && let Some(number) = numbers.next()
            {
                ahead.0.push_back(self.fetch(row.clone(), number));
            }
            let Some(page) = ahead.next().await else {
                return gather.end(Ok(())).await;
            };
            let page = page?;
            if let Err(failure) = gather.take(&page).await {
                // Those on their way were sent for this row too, and its record says so.
                while let Some(page) = ahead.next().await {
                    gather.hear(&page?);
                }
                return gather.end(Err(failure)).await;
            }
        }
    }

    /// A task of its own: while this row's items wait for the writer, a permit
    /// that its next page has in hand must not wait with them.
    fn fetch(self: &Rc<Self>, row: Rc<Row>, number: u64) -> JoinHandle<Result<Page, Stopped>> {
        let walk = self.clone();
        tokio::task::spawn_local(async move {
            let turn = walk.pages().map_or(Turn::Plain, |pages| pages.at(number));
            walk.page(&row, number, &turn, None).await
        })
    }

    async fn page(
        &self,
        row: &Row,
        number: u64,
        turn: &Turn,
        before: Option<&Asked>,
    ) -> Result<Page, Stopped> {
        let mut seen = Seen::default();
        let asked = self.turned(row, turn, before).and_then(|asked| {
            self.check_doubt(row, asked.0.method())?;
            let ask = self.step().ask(row, &asked.0)?;
            Ok((asked, ask))
        });
        let (asked, outcome) = match asked {
            Ok((asked, ask)) => {
                let answer = self.ask_page(row, number, &asked, &ask, &mut seen).await?;
                (Some(asked), answer.and_then(|answer| self.read(answer)))
            }
            Err(failure) => (None, Err(failure)),
        };
        Ok(Page {
            asked,
            seen,
            outcome,
        })
    }

    /// The first page of a row that must not be asked for twice announces it, for
    /// all that follow.
    async fn ask_page(
        &self,
        row: &Row,
        number: u64,
        (request, trust): &Asked,
        ask: &Ask,
        seen: &mut Seen,
    ) -> Result<Result<Answer, Failure>, Stopped> {
        let _slot = self.slot().await;
        if number == 0 {
            return self
                .ask_once(request, ask, std::slice::from_ref(row), seen)
                .await;
        }
        let terms = Terms {
            ask,
            errand: Errand::of(*trust),
        };
        self.ask(request, terms, Tries::of(request.method()), seen)
            .await
    }

    /// Where a row may have several requests in flight, they are counted one by one.
    async fn slot(&self) -> Option<tokio::sync::SemaphorePermit<'_>> {
        match self.pages().is_some_and(Pages::are_counted) {
            true => self.slots.acquire().await.ok(),
            false => None,
        }
    }

    fn read(&self, answer: Answer) -> Result<Read, Failure> {
        let reads = self.step().each.is_some() || self.pages().is_some_and(Pages::reads_body);
        let body = reads.then(|| parse(&answer.body)).transpose()?;
        Ok(Read { answer, body })
    }

    fn turned(&self, row: &Row, turn: &Turn, before: Option<&Asked>) -> Result<Asked, Failure> {
        match (turn, before) {
            (Turn::Url(url), Some(before)) => self.next_page(before, url),
            (Turn::Param(name, value), _) => Ok((self.with_param(row, name, value)?, Trust::Own)),
            _ => Ok((self.step().render(row)?, Trust::Own)),
        }
    }

    /// What a page names as the next one is a server's word: it leads no further
    /// than a redirect would.
    fn next_page(&self, (request, trust): &Asked, url: &str) -> Result<Asked, Failure> {
        let transport = &self.step().transport;
        redirect::to(request, *trust, url)
            .filter(|(next, _)| transport.may_follow(next.uri()))
            .ok_or_else(|| {
                let why = format!(
                    "the page names {url:?} as the next one, where throng does not go: to a host that request.allow-host (--allow-host) leaves out, with a body to another server, without TLS after a page with it, or with a password"
                );
                Failure::new("missing next page", why)
            })
    }

    /// A template may use the parameter like a field; else it goes into the query.
    fn with_param(&self, row: &Row, name: &str, value: &Value) -> Result<Request<Bytes>, Failure> {
        if self.step().renderer.fields().contains(name) {
            let mut row = row.clone();
            row.fields.insert(name.to_owned(), value.clone());
            return self.step().render(&row);
        }
        let mut request = self.step().render(row)?;
        let text = match value {
            Value::Null => return Ok(request),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let uri = with_param(request.uri(), name, &text);
        *request.uri_mut() = uri.map_err(|why| Failure::new("input", why))?;
        Ok(request)
    }
}

/// Pages on their way, in their order; what is not waited for any more is let go.
#[derive(Default)]
struct Ahead(VecDeque<JoinHandle<Result<Page, Stopped>>>);

impl Ahead {
    async fn next(&mut self) -> Option<Result<Page, Stopped>> {
        let first = self.0.front_mut()?;
        let page = first.await;
        self.0.pop_front();
        Some(page.unwrap_or_else(|error| match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Stopped),
        }))
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}
