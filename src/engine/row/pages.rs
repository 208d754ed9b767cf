//! A row whose answer has pages, items, or both.
//!
//! A page's request is tried again like any other, and each attempt has its own
//! permit. Items leave as soon as they have come, so that a row with very many
//! pages needs no more memory than one with few.

use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;

use tokio::task::JoinHandle;

use super::RowExecutor;
use super::attempt::{AttemptTerms, AttemptTrace, Cancelled, Purpose};
use super::page_records::{FetchedPage, PageCollector, PageContents, PageRequest, ParsedAnswer};
use crate::engine::context::RunContext;
use crate::extract::Document;
use crate::judge::Tries;
use crate::limit::Cost;
use crate::pages::{self, PageAddress, PageHistory, Pages};
use crate::plan::{Stage, set_param};
use crate::record::{Failure, FailureKind, Record};
use crate::row::Row;
use crate::send::Answer;
use crate::send::redirect::{self, RedirectTrust};
use crate::sink::{LaterRow, PageStart};

/// Pages of one row that are fetched at the same time, where their number is known.
const PREFETCH: usize = 16;

/// The continuation of a page.
enum NextPage {
    /// The page with this address.
    Page(PageAddress),
    /// This number of pages in all, in any order.
    Rest(u64),
    Nothing,
}

/// The outcome of a page for its list.
struct PageOutcome {
    /// Whether the page is an earlier one once more: it has no records.
    repeats: bool,
    /// Why the list ends here although the page names another one.
    warning: Option<String>,
    next: Result<NextPage, Failure>,
}

impl RowExecutor {
    /// Takes a row to the records of its pages and items.
    pub(super) async fn run_pages<E: AsyncFn(Record)>(
        self: &Rc<Self>,
        row: Row,
        emit: &E,
    ) -> Result<(), Cancelled> {
        let start = self.requests.context.plan.output.page_start(&row).cloned();
        let mut collector = PageCollector::new(self, row, start.as_ref(), emit);
        let history = PageHistory::default();
        if let Some(start) = &start
            && self.pages().is_some_and(Pages::has_count)
        {
            match self.count(&mut collector).await? {
                Ok(None) => {}
                Ok(Some(count)) => return self.rest(start.number..count, collector, history).await,
                Err(failure) => return collector.end(Err(failure)).await,
            }
        }
        let PageStart { number, address, .. } = start.unwrap_or_else(|| self.first());
        let before = self.before(collector.row(), &address);
        let page = self.page(collector.row(), number, address, before.as_ref()).await?;
        self.follow(page, collector, history).await
    }

    /// Takes a page of a row, and all that follow it.
    pub(super) async fn follow<E: AsyncFn(Record)>(
        self: &Rc<Self>,
        mut page: FetchedPage,
        mut collector: PageCollector<'_, E>,
        mut history: PageHistory,
    ) -> Result<(), Cancelled> {
        loop {
            let contents = match collector.contents(&page) {
                Ok(contents) => contents,
                Err(failure) => return collector.end(Err(failure)).await,
            };
            let after = self.after(collector.row(), &page, &contents, &mut history);
            if !after.repeats {
                self.note_page(&collector, &page);
                collector.take(contents, &page).await;
            }
            if collector.is_complete() {
                return collector.end(Ok(())).await;
            }
            collector.warning = after.warning;
            let address = match after.next {
                Ok(NextPage::Page(next)) => next,
                Ok(NextPage::Rest(count)) => return self.rest(1..count, collector, history).await,
                Ok(NextPage::Nothing) => return collector.end(Ok(())).await,
                Err(failure) => return collector.end(Err(failure)).await,
            };
            let (number, before) = (page.number + 1, page.request.as_ref());
            page = self.page(collector.row(), number, address, before).await?;
        }
    }

    /// The first page of a list.
    pub(super) fn first(&self) -> PageStart {
        let address = self.pages().map_or(PageAddress::First, |pages| pages.address(0));
        PageStart { number: 0, item: 0, address }
    }

    /// The request in place of the one before a page at which a row goes on, if the page
    /// has an address of its own.
    fn before(&self, row: &Row, address: &PageAddress) -> Option<PageRequest> {
        let is_url = matches!(address, PageAddress::Url(_));
        let request = is_url.then(|| self.stage().render(row).ok()).flatten()?;
        Some(PageRequest { request, trust: RedirectTrust::Own })
    }

    /// The number of pages of a row that goes on, which its first page tells; none if its
    /// pages are fetched one after the other.
    async fn count<E: AsyncFn(Record)>(
        self: &Rc<Self>,
        collector: &mut PageCollector<'_, E>,
    ) -> Result<Result<Option<u64>, Failure>, Cancelled> {
        let page = self.page(collector.row(), 0, self.first().address, None).await?;
        let contents = match collector.contents(&page) {
            Ok(contents) => contents,
            Err(failure) => return Ok(Err(failure)),
        };
        let after = self.after(collector.row(), &page, &contents, &mut PageHistory::default());
        Ok(match after.next {
            Ok(NextPage::Rest(count)) => Ok(Some(count)),
            Ok(_) => Ok(None),
            Err(failure) => Err(failure),
        })
    }

    /// Notes a page after the first one, so that the next run can go on there: unless its
    /// address has a secret, or may not have those of the job, or the row has cookies.
    fn note_page<E: AsyncFn(Record)>(&self, collector: &PageCollector<'_, E>, page: &FetchedPage) {
        let RunContext { page_log, plan, .. } = &*self.requests.context;
        let (Some(log), Some(PageRequest { request, trust: RedirectTrust::Own }), 1..) =
            (page_log.get(), &page.request, page.number)
        else {
            return;
        };
        // The pages of a job begin with its last answer, which a later run polls for.
        if self.submits() {
            return;
        }
        let address = match &page.address {
            PageAddress::Url(_) => PageAddress::Url(request.uri().to_string()),
            address => address.clone(),
        };
        let text = address.describe();
        let is_clean = plan.secrets.hide(text.clone()) == text;
        if is_clean && !collector.row().jar.has_cookies() {
            let start = PageStart { number: page.number, item: collector.number(), address };
            log.note(collector.row().number, start);
        }
    }

    /// Notes a row that failed in this stage, so that it can be asked for again without the stages
    /// before: unless this stage or a later one makes its items, or it has a secret or cookies.
    pub(super) fn note_failed(&self, row: &Row) {
        let stage_index = self.requests.stage_index;
        let RunContext { page_log, plan, .. } = &*self.requests.context;
        let Some(log) = page_log.get() else {
            return;
        };
        if plan.stages[stage_index..].iter().any(Stage::has_items) || row.jar.has_cookies() {
            return;
        }
        let mut without_secrets = row.clone();
        let fields = without_secrets.fields.values_mut();
        fields.for_each(|value| plan.secrets.hide_in_value(value));
        if without_secrets == *row {
            log.note_failed(&LaterRow::new(stage_index, row));
        }
    }

    /// Keeps the log of pages after the run, since a page of this row failed.
    pub(super) fn keep_page_log(&self) {
        if let Some(log) = self.requests.context.page_log.get() {
            log.keep();
        }
    }

    fn pages(&self) -> Option<&Pages> {
        self.stage().pages.as_ref()
    }

    /// The outcome of a page with these contents.
    fn after(
        &self,
        row: &Row,
        page: &FetchedPage,
        contents: &PageContents,
        history: &mut PageHistory,
    ) -> PageOutcome {
        let (Some(pages), Some(page)) = (self.pages(), page.as_listed(row, contents)) else {
            return PageOutcome { repeats: false, warning: None, next: Ok(NextPage::Nothing) };
        };
        let advance = pages.advance(&page, history);
        if advance.warning.is_some() {
            self.warn_of_repeat(row, page.address);
        }
        if advance.overlap > 0 {
            let at = || format!("row {}, {}", row.number, page.address.describe());
            self.warn("items that came twice where pages overlap", advance.overlap, at);
        }
        let next = self.next_page(pages, &page, advance.next);
        PageOutcome {
            repeats: advance.repeats,
            warning: advance.warning,
            next: next.map_err(|why| Failure::new(FailureKind::MissingNextPage, why)),
        }
    }

    fn next_page(
        &self,
        pages: &Pages,
        page: &pages::Page,
        next: Result<Option<PageAddress>, String>,
    ) -> Result<NextPage, String> {
        let is_first = page.number == 0;
        if is_first
            && pages.allow_any_order(page.items.map(<[_]>::len))
            && let Some(count) = pages.count(page)?
        {
            return Ok(NextPage::Rest(count));
        }
        Ok(next?.map_or(NextPage::Nothing, NextPage::Page))
    }

    fn warn_of_repeat(&self, row: &Row, address: &PageAddress) {
        let at = || format!("row {}, {}", row.number, address.describe());
        self.warn("lists that ended since their pages repeat", 1, at);
    }

    /// The pages with these numbers, several at a time, taken in their order.
    async fn rest<E: AsyncFn(Record)>(
        self: &Rc<Self>,
        mut numbers: Range<u64>,
        mut collector: PageCollector<'_, E>,
        mut history: PageHistory,
    ) -> Result<(), Cancelled> {
        let row = Rc::new(collector.row().clone());
        let mut ahead = Prefetch::default();
        loop {
            while ahead.0.len() < PREFETCH.min(self.stage().in_flight)
                && let Some(number) = numbers.next()
            {
                ahead.0.push_back(self.fetch(row.clone(), number));
            }
            let Some(page) = ahead.next().await else {
                return collector.end(Ok(())).await;
            };
            let page = page?;
            let contents = match collector.contents(&page) {
                Ok(contents) => contents,
                Err(failure) => {
                    // The record counts the pages on their way too: they were sent for this row.
                    while let Some(page) = ahead.next().await {
                        collector.add_attempts(&page?);
                    }
                    return collector.end(Err(failure)).await;
                }
            };
            let listed = page.as_listed(&row, &contents).filter(|page| !page.is_empty);
            if listed.is_some_and(|page| history.repeats(&page)) {
                let at = || format!("row {}, {}", row.number, page.address.describe());
                self.warn("pages that were the page before once more, and were left out", 1, at);
            } else {
                self.note_page(&collector, &page);
                collector.take(contents, &page).await;
            }
            if collector.is_complete() {
                return collector.end(Ok(())).await;
            }
        }
    }

    /// Fetches a page in a task of its own: while this row's items wait for the writer, a
    /// permit of its next page must not wait with them.
    fn fetch(
        self: &Rc<Self>,
        row: Rc<Row>,
        number: u64,
    ) -> JoinHandle<Result<FetchedPage, Cancelled>> {
        let executor = self.clone();
        tokio::task::spawn_local(async move {
            let pages = executor.pages();
            let address = pages.map_or(PageAddress::First, |pages| pages.address(number));
            executor.page(&row, number, address, None).await
        })
    }

    async fn page(
        &self,
        row: &Row,
        number: u64,
        address: PageAddress,
        before: Option<&PageRequest>,
    ) -> Result<FetchedPage, Cancelled> {
        let mut trace = AttemptTrace::default();
        let request = self.page_request(row, &address, before).and_then(|page| {
            self.check_doubt(row, page.request.method())?;
            let cost = self.stage().cost(row, &page.request)?;
            Ok((page, cost))
        });
        let (request, outcome) = match request {
            Ok((page, cost)) => {
                let answer = self.send_page(row, number, &page, &cost, &mut trace).await?;
                let read = answer.and_then(|answer| self.read(answer, &page, row, &mut trace));
                (Some(page), read)
            }
            Err(failure) => (None, Err(failure)),
        };
        let outcome = if number > 0 && self.is_past_end(&trace) {
            Err(Failure::new(FailureKind::EndOfPages, "the page before was the last one"))
        } else {
            outcome
        };
        Ok(FetchedPage { number, address, request, trace, outcome })
    }

    /// Whether the last answer of a later page says that the page before was the last one. A
    /// rule of the job would say it otherwise, and where pages are counted all are there.
    fn is_past_end(&self, trace: &AttemptTrace) -> bool {
        let pages = self.pages().filter(|pages| !pages.has_count());
        let is_by_job = trace.decision.is_none_or(|decision| decision.is_of_job());
        !is_by_job && pages.zip(trace.status).is_some_and(|(pages, status)| pages.ends_at(status))
    }

    /// Sends the request of a page. The first page notes the intent of a row that must not be
    /// sent twice, for all pages.
    async fn send_page(
        &self,
        row: &Row,
        number: u64,
        page: &PageRequest,
        cost: &Cost,
        trace: &mut AttemptTrace,
    ) -> Result<Result<Answer, Failure>, Cancelled> {
        let _slot = self.slot().await;
        if number == 0 {
            return self
                .requests
                .exchange_with_intent(&page.request, cost, std::slice::from_ref(row), trace)
                .await;
        }
        let tries = Tries::of(page.request.method());
        let terms = AttemptTerms {
            cost,
            purpose: Purpose::of(page.trust),
            row: Some(row),
            is_billed: true,
        };
        self.requests.send_with_retries(&page.request, terms, tries, trace).await
    }

    /// A slot for a request, where a row may have several in flight.
    async fn slot(&self) -> Option<tokio::sync::SemaphorePermit<'_>> {
        if self.pages().is_some_and(Pages::has_count) {
            self.slots.acquire().await.ok()
        } else {
            None
        }
    }

    fn read(
        &self,
        answer: Answer,
        page: &PageRequest,
        row: &Row,
        trace: &mut AttemptTrace,
    ) -> Result<ParsedAnswer, Failure> {
        let context = self.stage().read_context(&answer, page.request.uri(), Some(row));
        let reads = self.stage().each.is_some() || self.pages().is_some_and(Pages::reads_body);
        let body = reads.then(|| Document::new(&answer.body, &context)).transpose();
        let body = body.inspect_err(|_| trace.keep_all(&answer.body, &context))?;
        Ok(ParsedAnswer { answer, body })
    }

    pub(super) fn page_request(
        &self,
        row: &Row,
        address: &PageAddress,
        before: Option<&PageRequest>,
    ) -> Result<PageRequest, Failure> {
        let request = match (address, before) {
            (PageAddress::Url(url), Some(before)) => return self.linked_page(before, url),
            // The pages of a job are at the address of its last answer.
            (PageAddress::Param(name, value), Some(before)) if self.submits() => {
                let (mut request, trust) = (before.request.clone(), before.trust);
                set_param(&mut request, name, value)?;
                return Ok(PageRequest { request, trust });
            }
            _ => self.stage().page_request(row, address)?,
        };
        Ok(PageRequest { request, trust: RedirectTrust::Own })
    }

    /// The request of the page that a page names as the next one. It may lead no further than
    /// a redirect would.
    fn linked_page(&self, before: &PageRequest, url: &str) -> Result<PageRequest, Failure> {
        let transport = &self.stage().transport;
        redirect::to(&before.request, before.trust, url)
            .map(|(request, trust)| PageRequest { request, trust })
            .filter(|next| transport.may_follow(next.request.uri()))
            .ok_or_else(|| {
                let why = format!(
                    "the page names {url:?} as the next one, where throng does not go: to a host that request.allow-host (--allow-host) leaves out, with a body to another server, without TLS after a page with it, or with a password"
                );
                Failure::new(FailureKind::MissingNextPage, why)
            })
    }
}

/// Pages that are being fetched, in their order; to drop it aborts the fetches.
#[derive(Default)]
struct Prefetch(VecDeque<JoinHandle<Result<FetchedPage, Cancelled>>>);

impl Prefetch {
    async fn next(&mut self) -> Option<Result<FetchedPage, Cancelled>> {
        let first = self.0.front_mut()?;
        let page = first.await;
        self.0.pop_front();
        Some(page.unwrap_or_else(|error| match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Cancelled),
        }))
    }
}

impl Drop for Prefetch {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}
