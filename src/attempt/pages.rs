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

use super::gather::{Brought, Gather};
use super::{Errand, Seen, Stopped, Terms, Walk};
use crate::extract::{Input, json};
use crate::judge::Tries;
use crate::limit::Ask;
use crate::pages::{self, Pages, Trail, Turn};
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
    number: u64,
    turn: Turn,
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

/// What a page means for its list.
struct After {
    /// Whether it was there before: nothing of it is recorded.
    repeats: bool,
    then: Result<Then, Failure>,
}

impl Page {
    /// As far as it can tell where the list goes on.
    fn of_list<'a>(&'a self, brought: &'a Brought) -> Option<pages::Page<'a>> {
        let (read, (request, _)) = (self.outcome.as_ref().ok()?, self.asked.as_ref()?);
        Some(pages::Page {
            number: self.number,
            turn: &self.turn,
            uri: request.uri(),
            headers: &read.answer.headers,
            body: read.body.as_ref(),
            bytes: &read.answer.body,
            items: brought.items(),
            is_empty: brought.is_empty(),
        })
    }
}

impl Walk {
    /// Takes a row to the records of its pages and items.
    pub(super) async fn paged<E: AsyncFn(Record)>(
        self: &Rc<Self>,
        row: Row,
        emit: &E,
    ) -> Result<(), Stopped> {
        let mut gather = Gather::new(self, row, emit);
        let mut trail = Trail::default();
        let mut turn = self.pages().map_or(Turn::Plain, |pages| pages.at(0));
        let mut before = None;
        for number in 0.. {
            let page = self
                .page(gather.row(), number, turn, before.as_ref())
                .await?;
            let brought = match gather.brought(&page) {
                Ok(brought) => brought,
                Err(failure) => return gather.end(Err(failure)).await,
            };
            let after = self.after(gather.row(), &page, &brought, &mut trail);
            if !after.repeats {
                gather.take(brought).await;
            }
            match after.then {
                Ok(Then::Page(next)) => turn = next,
                Ok(Then::Rest(count)) => return self.rest(count, gather, trail).await,
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

    /// What comes after a page that has brought this.
    fn after(&self, row: &Row, page: &Page, brought: &Brought, trail: &mut Trail) -> After {
        let (Some(pages), Some(page)) = (self.pages(), page.of_list(brought)) else {
            return After {
                repeats: false,
                then: Ok(Then::Nothing),
            };
        };
        let advance = pages.advance(&page, trail);
        if advance.repeats && advance.next.is_ok() {
            self.warn_of_repeat(row, page.turn);
        }
        if advance.twice > 0 {
            let at = || format!("row {}, {}", row.number, page.turn.text());
            self.warn(
                "items that came twice where pages overlap",
                advance.twice,
                at,
            );
        }
        let then = self.then(pages, &page, advance.next);
        After {
            repeats: advance.repeats,
            then: then.map_err(|why| Failure::new("missing next page", why)),
        }
    }

    fn then(
        &self,
        pages: &Pages,
        page: &pages::Page,
        next: Result<Option<Turn>, String>,
    ) -> Result<Then, String> {
        let is_first = page.number == 0;
        if is_first
            && pages.go_by_number(page.items.map(<[_]>::len))
            && let Some(count) = pages.count(page.body)?
        {
            return Ok(Then::Rest(count));
        }
        Ok(next?.map_or(Then::Nothing, Then::Page))
    }

    fn warn_of_repeat(&self, row: &Row, turn: &Turn) {
        let at = || format!("row {}, {}", row.number, turn.text());
        self.warn(
            "pages that were the page before once more, and were left out",
            1,
            at,
        );
    }

    /// The pages after the first one, several at a time, taken in their order.
    async fn rest<E: AsyncFn(Record)>(
        self: &Rc<Self>,
        count: u64,
        mut gather: Gather<'_, E>,
        mut trail: Trail,
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
            let brought = match gather.brought(&page) {
                Ok(brought) => brought,
                Err(failure) => {
                    // Those on their way were sent for this row too, and its record says so.
                    while let Some(page) = ahead.next().await {
                        gather.hear(&page?);
                    }
                    return gather.end(Err(failure)).await;
                }
            };
            let of_list = page.of_list(&brought).filter(|page| !page.is_empty);
            if of_list.is_some_and(|page| trail.repeats(&page)) {
                self.warn_of_repeat(&row, &page.turn);
            } else {
                gather.take(brought).await;
            }
        }
    }

    /// A task of its own: while this row's items wait for the writer, a permit
    /// that its next page has in hand must not wait with them.
    fn fetch(self: &Rc<Self>, row: Rc<Row>, number: u64) -> JoinHandle<Result<Page, Stopped>> {
        let walk = self.clone();
        tokio::task::spawn_local(async move {
            let turn = walk.pages().map_or(Turn::Plain, |pages| pages.at(number));
            walk.page(&row, number, turn, None).await
        })
    }

    async fn page(
        &self,
        row: &Row,
        number: u64,
        turn: Turn,
        before: Option<&Asked>,
    ) -> Result<Page, Stopped> {
        let mut seen = Seen::default();
        let asked = self.turned(row, &turn, before).and_then(|asked| {
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
            number,
            turn,
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
        let body = reads.then(|| json(&answer.body)).transpose()?;
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
