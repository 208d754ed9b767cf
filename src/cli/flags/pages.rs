//! Flags of answers with several items, and of pages.

use clap::Args;
use serde_json::{Value, json};

use super::send::size;
use crate::batch_api::Provider;

/// Items, batches and pages of answers.
#[derive(Args)]
#[command(next_help_heading = "Items, batches, pages")]
pub struct PageFlags {
    /// One record for each item that this yields, such as '.items[]'; extract then reads the item
    #[arg(long, value_name = "JQ")]
    each: Option<String>,
    /// The row of an item in a batch: FIELD of the row equals this value of the item;
    /// :index=JQ is the row's place in the request, from 0, and :position the item's own place
    #[arg(long = "match", value_name = "FIELD=JQ")]
    matching: Option<String>,
    /// Up to N rows in one request; {{ field }} is then the list of their values
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// Send the requests through the provider's batch endpoint, at half the price: openai, anthropic, gemini or mistral; --batch is then the most rows of each batch
    #[arg(long, value_name = "PROVIDER")]
    batch_api: Option<Provider>,
    /// Maximum size of each of the provider's batches [default: 64MB, or less as the provider takes]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    batch_bytes: Option<String>,
    /// Maximum number of tokens in all of the provider's batches in progress, as your account has it [default: none]
    #[arg(long, value_name = "N")]
    batch_tokens: Option<u64>,
    /// A status for too large a batch, which is then halved (repeat) [default: 413, 414]
    #[arg(long, value_name = "STATUS")]
    too_large: Vec<u16>,
    /// The next page's URL: link (the Link header, rel=next), or a jq program
    #[arg(long, value_name = "link|JQ")]
    next: Option<String>,
    /// The next page's PARAM, such as cursor=.meta.next; a template may use {{ PARAM }}
    #[arg(long, value_name = "PARAM=JQ")]
    cursor: Option<String>,
    /// Pages are numbered from FIRST on [default: 1]
    #[arg(long, value_name = "PARAM[=FIRST]")]
    page: Option<String>,
    /// Pages begin at an offset: 0, then the number of items so far; STEP items per page
    #[arg(long, value_name = "PARAM=STEP")]
    offset: Option<String>,
    /// The last page is the one for which this is true [default: an empty page]
    #[arg(long, value_name = "JQ")]
    until: Option<String>,
    /// The number of pages, which are then fetched in parallel
    #[arg(long, value_name = "JQ")]
    page_count: Option<String>,
    /// Maximum number of pages for each row
    #[arg(long, value_name = "N")]
    max_pages: Option<u64>,
}

impl PageFlags {
    pub fn items_tree(&self) -> Value {
        json!({ "each": self.each, "match": self.matching })
    }

    pub fn batch_tree(&self) -> Value {
        let statuses = (!self.too_large.is_empty()).then_some(&self.too_large);
        json!({
            "size": self.batch,
            "bytes": self.batch_bytes,
            "tokens": self.batch_tokens,
            "too-large": statuses,
        })
    }

    pub fn batch_api(&self) -> Option<&'static str> {
        self.batch_api.map(Provider::name)
    }

    pub fn tree(&self) -> Value {
        json!({
            "next": self.next,
            "cursor": self.cursor,
            "page": self.page,
            "offset": self.offset,
            "until": self.until,
            "count": self.page_count,
            "max": self.max_pages,
        })
    }
}
