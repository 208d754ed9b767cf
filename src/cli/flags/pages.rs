//! Flags of answers that have more in them than one row's values.

use clap::Args;
use serde_json::{Value, json};

/// Answers with items, and answers that go on.
#[derive(Args)]
#[command(next_help_heading = "Items, batches, pages")]
pub struct PageFlags {
    /// One record for each item that this gives, such as '.items[]'; extract then takes from the item
    #[arg(long, value_name = "JQ")]
    each: Option<String>,
    /// In a batch, whose an item is: FIELD of the row has the item's value
    #[arg(long = "match", value_name = "FIELD=JQ")]
    matching: Option<String>,
    /// Up to N rows in one request; {{ field }} is then the list of theirs
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// A status that means that a batch is too large: it is halved (repeat) [default: 413, 414]
    #[arg(long, value_name = "STATUS")]
    too_large: Vec<u16>,
    /// The next page's URL: link (the Link header, rel=next), or a jq program
    #[arg(long, value_name = "link|JQ")]
    next: Option<String>,
    /// The next page's PARAM, such as cursor=.meta.next; a template may use {{ PARAM }}
    #[arg(long, value_name = "PARAM=JQ")]
    cursor: Option<String>,
    /// Pages have a number, from FIRST on [default: 1]
    #[arg(long, value_name = "PARAM[=FIRST]")]
    page: Option<String>,
    /// Pages begin at 0, and then after as many items as came; each should have STEP
    #[arg(long, value_name = "PARAM=STEP")]
    offset: Option<String>,
    /// The last page is the one for which this is true; else an empty one
    #[arg(long, value_name = "JQ")]
    until: Option<String>,
    /// How many pages there are: then they are fetched in parallel
    #[arg(long, value_name = "JQ")]
    page_count: Option<String>,
    /// At most so many pages for each row
    #[arg(long, value_name = "N")]
    max_pages: Option<u64>,
}

impl PageFlags {
    pub fn items_tree(&self) -> Value {
        json!({ "each": self.each, "match": self.matching })
    }

    pub fn batch_tree(&self) -> Value {
        let statuses = (!self.too_large.is_empty()).then_some(&self.too_large);
        json!({ "size": self.batch, "too-large": statuses })
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
