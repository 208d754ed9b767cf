use bytes::Bytes;
use http::{HeaderMap, Uri};
use serde_json::json;

use super::*;
use crate::extract::{AnswerContext, ItemSettings, JqInput};

fn each() -> Items {
    let settings = ItemSettings { each: Some(".items[]".into()), ..ItemSettings::default() };
    Items::new(&settings).unwrap().unwrap()
}

fn pages(settings: Value) -> Pages {
    let settings = serde_json::from_value(settings).unwrap();
    Pages::new(&settings, Some(&each())).unwrap().unwrap()
}

/// Items that all differ.
fn items(from: usize, count: usize) -> Vec<Bytes> {
    (from..from + count).map(|id| Bytes::from(format!("{{\"id\":{id}}}"))).collect()
}

fn advance(
    pages: &Pages,
    history: &mut PageHistory,
    number: u64,
    address: &PageAddress,
    body: &Value,
    items: &[Bytes],
) -> Advance {
    let (text, input) = (body.to_string(), serde_json::from_value(body.clone()));
    let input: JqInput = input.unwrap();
    let (uri, headers) = (Uri::from_static("https://h/list?size=9"), HeaderMap::new());
    let page = Page {
        number,
        address,
        items: Some(items),
        is_empty: items.is_empty(),
        ..page(&uri, &headers, &input, text.as_bytes())
    };
    pages.advance(&page, history)
}

/// The first page of a list without items.
fn page<'a>(uri: &'a Uri, headers: &'a HeaderMap, body: &'a JqInput, bytes: &'a [u8]) -> Page<'a> {
    Page {
        number: 0,
        address: &PageAddress::First,
        uri,
        headers,
        context: AnswerContext::default(),
        body: Some(body),
        bytes,
        items: None,
        is_empty: false,
    }
}

/// The address after a page without a history.
fn next(
    pages: &Pages,
    number: u64,
    address: &PageAddress,
    body: Value,
    count: usize,
) -> Result<Option<PageAddress>, String> {
    let history = &mut PageHistory::default();
    advance(pages, history, number, address, &body, &items(0, count)).next
}

fn param(name: &str, value: impl Into<Value>) -> PageAddress {
    PageAddress::Param(name.into(), value.into())
}

#[test]
fn numbers_and_offsets_grow_until_a_page_is_empty() {
    for (settings, values) in [
        (json!({"page": "page"}), [1, 2]),
        (json!({"page": "p=0"}), [0, 1]),
        (json!({"offset": "skip=50"}), [0, 3]),
    ] {
        let pages = pages(settings);
        let name = pages.param().unwrap();
        let first = pages.address(0);
        assert_eq!(first, param(name, values[0]));
        assert_eq!(next(&pages, 0, &first, json!({}), 3), Ok(Some(param(name, values[1]))));
        assert_eq!(next(&pages, 7, &first, json!({}), 0), Ok(None));
    }
}

#[test]
fn addresses_in_the_body_are_followed_until_there_is_none() {
    let urls = pages(json!({"next": ".next"}));
    let cursors = pages(json!({"cursor": "after=.next"}));
    assert_eq!(cursors.address(0), param("after", Value::Null));
    for end in [json!(null), json!(""), json!(false)] {
        for pages in [&urls, &cursors] {
            assert_eq!(next(pages, 0, &pages.address(0), json!({"next": end}), 1), Ok(None));
        }
    }
    let body = json!({"next": "/b"});
    assert_eq!(
        next(&urls, 0, &PageAddress::First, body.clone(), 1),
        Ok(Some(PageAddress::Url("/b".into())))
    );
    assert_eq!(next(&cursors, 0, &cursors.address(0), body, 0), Ok(Some(param("after", "/b"))));
}

#[test]
fn an_offset_without_items_grows_by_its_step() {
    let settings = serde_json::from_value(json!({"offset": "skip=50", "max": 9})).unwrap();
    let pages = Pages::new(&settings, None).unwrap().unwrap();
    assert_eq!(pages.fixed_step(), Some(50));
    assert_eq!(next(&pages, 1, &pages.address(1), json!({}), 3), Ok(Some(param("skip", 100))));
}

#[test]
fn offsets_allow_any_order_only_if_the_first_page_is_full() {
    let offsets = pages(json!({"offset": "skip=50"}));
    let numbers = pages(json!({"page": "page"}));
    for (items, by_offset) in [(50, true), (49, false), (51, false), (0, true)] {
        assert_eq!(offsets.allow_any_order(Some(items)), by_offset, "{items}");
        assert!(numbers.allow_any_order(Some(items)));
    }
}

/// The number of pages taken of a list whose pages have these first ids and cursors, and
/// the warning or error that ends it.
fn walk(settings: Value, all: &[(usize, Value)]) -> (usize, Option<String>) {
    let (pages, mut history) = (pages(settings), PageHistory::default());
    let mut address = pages.address(0);
    for (number, (first, next)) in all.iter().enumerate() {
        let body = json!({ "next": next });
        let advance =
            advance(&pages, &mut history, number as u64, &address, &body, &items(*first, 2));
        let taken = number + usize::from(!advance.repeats);
        match advance.next {
            Ok(Some(next)) => address = next,
            Ok(None) => return (taken, advance.warning),
            Err(why) => return (taken, Some(why)),
        }
    }
    (all.len(), Some("it goes on".into()))
}

#[test]
fn a_circle_of_pages_is_found() {
    let cursors = || json!({"cursor": "after=.next"});
    let urls = || json!({"next": ".next"});
    for (settings, all, taken, why) in [
        // One cursor for the whole list, and one for a page.
        (cursors(), vec![(0, json!("s")), (2, json!("s")), (4, json!("s"))], 3, "goes on"),
        (cursors(), vec![(0, json!("s")), (2, json!("s")), (0, json!("s"))], 2, "circle"),
        (cursors(), vec![(0, json!("s")), (2, json!("s")), (2, json!("s"))], 2, "circle"),
        (cursors(), vec![(0, json!("a")), (2, json!("b")), (4, json!("a"))], 3, "after=a"),
        (cursors(), vec![(0, json!("a")), (2, json!("b")), (0, json!("a"))], 2, "after=b"),
        (cursors(), vec![(0, json!(1)), (0, json!(2)), (0, json!(3))], 1, "circle"),
        (cursors(), vec![(0, json!(1)), (2, json!(2)), (0, json!(3))], 3, "goes on"),
        // One address for the whole list, as a path that begins where the page is.
        (urls(), vec![(0, json!("?size=9")), (2, json!("?size=9"))], 2, "goes on"),
        (urls(), vec![(0, json!("?size=9")), (0, json!("?size=9"))], 1, "circle"),
        (urls(), vec![(0, json!("?at=1")), (2, json!("https://h/list?size=9"))], 2, "circle"),
        (json!({"page": "page"}), vec![(0, json!(0)), (2, json!(0)), (4, json!(0))], 3, "goes on"),
        (
            json!({"page": "page"}),
            vec![(0, json!(0)), (2, json!(0)), (0, json!(0)), (2, json!(0))],
            3,
            "circle",
        ),
    ] {
        let (count, end) = walk(settings, &all);
        assert_eq!(count, taken, "{all:?}");
        assert!(end.clone().unwrap().contains(why), "{all:?}: {end:?}");
    }
    let repeats = walk(json!({"page": "page"}), &[(0, json!(0)), (2, json!(0)), (2, json!(0))]);
    assert_eq!(repeats.0, 2);
    assert!(repeats.1.unwrap().contains("was this one once more"));
}

#[test]
fn a_cursor_that_leads_to_itself_from_an_empty_page_is_the_end() {
    let (pages, mut history) = (pages(json!({"cursor": "after=.next"})), PageHistory::default());
    let body = json!({"next": "s"});
    let end = advance(&pages, &mut history, 3, &param("after", "s"), &body, &[]);
    assert_eq!(end, Advance::new(false, Ok(None)));
    // While it names others, there may be items further on.
    let on = advance(&pages, &mut history, 4, &param("after", "r"), &json!({"next": "t"}), &[]);
    assert_eq!(on.next, Ok(Some(param("after", "t"))));
}

#[test]
fn items_of_two_pages_are_compared_only_where_pages_may_overlap() {
    for (count, twice) in [(8, 2), (10, 0)] {
        let (pages, mut history) = (pages(json!({"offset": "skip=10"})), PageHistory::default());
        let mut come = |number, from| {
            advance(
                &pages,
                &mut history,
                number,
                &pages.address(number),
                &json!({}),
                &items(from, count),
            )
            .overlap
        };
        assert_eq!((come(0, 0), come(1, count - 2)), (0, twice));
    }
}

#[test]
fn a_million_pages_take_little_memory() {
    let mut history = PageHistory::default();
    let pages = pages(json!({"cursor": "after=.next"}));
    for number in 0..2_000 {
        advance(
            &pages,
            &mut history,
            number,
            &param("after", number),
            &json!({"next": number + 1}),
            &items(number as usize, 1),
        );
    }
    assert!(history.len() <= 2_001, "{}", history.len());
    for number in 2_000..70_000 {
        advance(
            &pages,
            &mut history,
            number,
            &param("after", number),
            &json!({"next": number + 1}),
            &items(number as usize, 1),
        );
    }
    assert!(history.len() <= 1 << 16, "{}", history.len());
}

#[test]
fn a_status_ends_a_list() {
    let ends = |settings: Value, code: u16| {
        pages(settings).ends_at(http::StatusCode::from_u16(code).unwrap())
    };
    for code in [200, 204, 400, 404, 416, 500] {
        assert_eq!(ends(json!({"page": "page"}), code), matches!(code, 204 | 404 | 416), "{code}");
        assert_eq!(ends(json!({"cursor": "after=.next"}), code), code == 204, "{code}");
    }
}

#[test]
fn a_maximum_and_a_condition_end_the_pages() {
    let bound = pages(json!({"page": "page", "max": 3}));
    assert!(next(&bound, 1, &bound.address(1), json!({}), 1).unwrap().is_some());
    assert_eq!(next(&bound, 2, &bound.address(2), json!({}), 1), Ok(None));
    let until = pages(json!({"page": "page", "until": ".more | not"}));
    assert!(next(&until, 0, &until.address(0), json!({"more": true}), 1).unwrap().is_some());
    assert_eq!(next(&until, 0, &until.address(0), json!({"more": false}), 1), Ok(None));
}

#[test]
fn the_body_may_tell_the_number_of_pages() {
    let pages = pages(json!({"page": "page", "count": ".total", "max": 10}));
    for (total, count) in [(json!(4), 4), (json!(400), 10), (json!(0), 0)] {
        let body: JqInput = serde_json::from_value(json!({"total": total})).unwrap();
        let (uri, headers) = (Uri::default(), HeaderMap::new());
        assert_eq!(pages.count(&page(&uri, &headers, &body, b"")), Ok(Some(count)));
    }
    let body: JqInput = serde_json::from_value(json!({"total": "x"})).unwrap();
    assert!(pages.count(&page(&Uri::default(), &HeaderMap::new(), &body, b"")).is_err());
}

#[test]
fn contradictory_settings_are_an_error() {
    for (settings, has_items, message) in [
        (json!({"max": 3}), true, "nothing says how to turn them"),
        (json!({"page": "page"}), false, "nothing says where the pages end"),
        (json!({"next": "link", "page": "page"}), true, "in one way"),
        (json!({"next": "link", "count": ".n"}), true, "in any order"),
        (json!({"page": "page", "max": 0}), true, "at least 1"),
        (json!({"page": "page=x"}), true, "PARAM=FIRST"),
        (json!({"offset": "offset"}), true, "PARAM=STEP"),
        (json!({"cursor": ".next"}), true, "PARAM=JQ"),
        (json!({"next": ".a | nope"}), true, "pages.next (--next): "),
    ] {
        let settings = serde_json::from_value(settings).unwrap();
        let each = has_items.then(each);
        let error = Pages::new(&settings, each.as_ref()).err().unwrap().to_string();
        assert!(error.contains(message), "{error}");
    }
    assert!(Pages::new(&Settings::default(), None).unwrap().is_none());
}

/// The warning with which a list of empty pages ends, and after how many of 3,000; each page
/// names the next cursor, and has another count if `counts`.
fn ends_after(pages: &Pages, counts: bool) -> (u64, Option<String>) {
    let mut history = PageHistory::default();
    let mut address = pages.address(0);
    for number in 0..3000 {
        let count = if counts { number } else { 0 };
        let body = json!({"items": [], "n": count, "next": format!("c{number}")});
        let advance = advance(pages, &mut history, number, &address, &body, &[]);
        match advance.next.unwrap() {
            Some(next) => address = next,
            None => return (number + 1, advance.warning),
        }
    }
    (3000, None)
}

#[test]
fn a_list_ends_after_a_thousand_empty_pages_unless_the_job_says_how_many_there_are() {
    let (count, warning) = ends_after(&pages(json!({"cursor": "after=.next"})), true);
    let warning = warning.unwrap();
    assert_eq!(count, 1000);
    assert!(
        warning.starts_with("the list ends here, as 1000 pages in a row were empty"),
        "{warning}"
    );
    assert!(warning.contains("(after=c999)") && warning.contains("--max-pages N"), "{warning}");
    let bounded = pages(json!({"cursor": "after=.next", "max": 2500}));
    assert_eq!(ends_after(&bounded, true), (2500, None));
}

#[test]
fn pages_whose_items_a_program_leaves_out_are_empty_only_if_they_are_equal() {
    let settings =
        ItemSettings { each: Some(".items[] | select(.n > 5)".into()), ..ItemSettings::default() };
    let each = Items::new(&settings).unwrap().unwrap();
    let of_program = serde_json::from_value(json!({"cursor": "after=.next"})).unwrap();
    let pages = Pages::new(&of_program, Some(&each)).unwrap().unwrap();
    assert_eq!(ends_after(&pages, true).0, 3000);
    assert_eq!(ends_after(&pages, false).0, 1000);
}
