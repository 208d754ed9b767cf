use serde_json::json;

use super::*;

fn pages(settings: Value) -> Pages {
    let settings = serde_json::from_value(settings).unwrap();
    Pages::new(&settings, true).unwrap().unwrap()
}

fn next(
    pages: &Pages,
    number: u64,
    turn: &Turn,
    body: Value,
    items: usize,
) -> Result<Option<Turn>, String> {
    let body: Input = serde_json::from_value(body).unwrap();
    pages.next(&Page {
        number,
        turn,
        headers: &HeaderMap::new(),
        body: Some(&body),
        items: Some(items),
    })
}

fn param(name: &str, value: impl Into<Value>) -> Turn {
    Turn::Param(name.into(), value.into())
}

#[test]
fn numbers_and_offsets_grow_until_a_page_is_empty() {
    for (settings, values) in [
        (json!({"page": "page"}), [1, 2]),
        (json!({"page": "p=0"}), [0, 1]),
        (json!({"offset": "skip=50"}), [0, 50]),
    ] {
        let pages = pages(settings);
        let name = pages.param().unwrap();
        let first = pages.at(0);
        assert_eq!(first, param(name, values[0]));
        assert_eq!(
            next(&pages, 0, &first, json!({}), 3),
            Ok(Some(param(name, values[1])))
        );
        assert_eq!(next(&pages, 7, &first, json!({}), 0), Ok(None));
    }
}

#[test]
fn what_the_body_names_is_followed_until_it_names_nothing() {
    let urls = pages(json!({"next": ".next"}));
    let cursors = pages(json!({"cursor": "after=.next"}));
    assert_eq!(cursors.at(0), param("after", Value::Null));
    for end in [json!(null), json!(""), json!(false)] {
        for pages in [&urls, &cursors] {
            assert_eq!(
                next(pages, 0, &pages.at(0), json!({"next": end}), 1),
                Ok(None)
            );
        }
    }
    let body = json!({"next": "/b"});
    assert_eq!(
        next(&urls, 0, &Turn::Plain, body.clone(), 1),
        Ok(Some(Turn::Url("/b".into())))
    );
    assert_eq!(
        next(&cursors, 0, &cursors.at(0), body, 0),
        Ok(Some(param("after", "/b")))
    );
}

#[test]
fn a_page_that_leads_to_itself_is_a_mistake() {
    let pages = pages(json!({"cursor": "after=.next"}));
    let error = next(&pages, 3, &param("after", "x"), json!({"next": "x"}), 1).unwrap_err();
    assert!(error.contains("leads to itself: after=\"x\""), "{error}");
}

#[test]
fn a_bound_and_a_condition_end_the_pages() {
    let bound = pages(json!({"page": "page", "max": 3}));
    assert!(
        next(&bound, 1, &bound.at(1), json!({}), 1)
            .unwrap()
            .is_some()
    );
    assert_eq!(next(&bound, 2, &bound.at(2), json!({}), 1), Ok(None));
    let until = pages(json!({"page": "page", "until": ".more | not"}));
    assert!(
        next(&until, 0, &until.at(0), json!({"more": true}), 1)
            .unwrap()
            .is_some()
    );
    assert_eq!(
        next(&until, 0, &until.at(0), json!({"more": false}), 1),
        Ok(None)
    );
}

#[test]
fn the_number_of_pages_may_be_known() {
    let pages = pages(json!({"page": "page", "count": ".total", "max": 10}));
    for (total, count) in [(json!(4), 4), (json!(400), 10), (json!(0), 0)] {
        let body: Input = serde_json::from_value(json!({"total": total})).unwrap();
        assert_eq!(pages.count(Some(&body)), Ok(Some(count)));
    }
    let body: Input = serde_json::from_value(json!({"total": "x"})).unwrap();
    assert!(pages.count(Some(&body)).is_err());
}

#[test]
fn what_makes_no_sense_is_said_at_once() {
    for (settings, has_items, message) in [
        (json!({"max": 3}), true, "nothing says how to turn them"),
        (
            json!({"page": "page"}),
            false,
            "nothing says where the pages end",
        ),
        (json!({"next": "link", "page": "page"}), true, "in one way"),
        (json!({"next": "link", "count": ".n"}), true, "in any order"),
        (json!({"page": "page", "max": 0}), true, "at least 1"),
        (json!({"page": "page=x"}), true, "PARAM=FIRST"),
        (json!({"offset": "offset"}), true, "PARAM=STEP"),
        (json!({"cursor": ".next"}), true, "PARAM=JQ"),
        (json!({"next": ".a | nope"}), true, "pages.next (--next): "),
    ] {
        let settings = serde_json::from_value(settings).unwrap();
        let error = Pages::new(&settings, has_items).err().unwrap().to_string();
        assert!(error.contains(message), "{error}");
    }
    assert!(Pages::new(&Settings::default(), false).unwrap().is_none());
}
