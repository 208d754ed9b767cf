//! A document in XML as one value: elements are fields by their names, attributes are `@name`,
//! text beside them is `#text`, and elements of one name are a list. Pure.

use quick_xml::XmlVersion;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::reader::Reader;
use serde_json::map::Entry;
use serde_json::{Map, Value};

use super::json::MAX_CHARS;
use crate::record::{Failure, FailureKind, excerpt};

/// Maximum depth of nested elements.
const MAX_DEPTH: usize = 100;

/// The name of the text of an element that has attributes or elements as well.
const TEXT: &str = "#text";

/// Space of XML.
const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

/// An element that is not closed yet.
struct Element {
    name: String,
    fields: Map<String, Value>,
    text: String,
}

/// The elements from the root to the one that is open, and the root if it is closed.
struct Tree<'a> {
    open: Vec<Element>,
    root: Option<Element>,
    lists: &'a [String],
}

/// The value of a document. Elements with the names in `lists` are lists also where there is one.
///
/// # Errors
/// A failure `not xml`, with the line.
pub fn xml(text: &str, lists: &[String]) -> Result<Value, Failure> {
    let mut reader = Reader::from_str(text);
    let mut tree = Tree { open: Vec::new(), root: None, lists };
    loop {
        let event = reader.read_event().map_err(|error| error.to_string());
        let is_end = matches!(event, Ok(Event::Eof));
        if let Err(why) = event.and_then(|event| tree.take(event)) {
            let at = usize::try_from(reader.error_position().max(reader.buffer_position()));
            let before = text.as_bytes().get(..at.unwrap_or(usize::MAX)).unwrap_or(text.as_bytes());
            let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
            let start = excerpt(text, MAX_CHARS);
            let why = format!("{why}, in line {line}; the answer begins {start:?}");
            return Err(Failure::new(FailureKind::NotXml, why));
        }
        if is_end {
            return Ok(tree.value());
        }
    }
}

/// Whether a text declares itself to be XML.
pub fn begins(text: &str) -> bool {
    text.trim_start().starts_with("<?xml")
}

/// Whether a text is a page for people: its first element is `html`.
pub fn is_page(text: &str) -> bool {
    let mut rest = text.trim_start();
    while let Some(end) = end_of_prolog(rest) {
        rest = rest[end..].trim_start();
    }
    let name = rest.get(..5).filter(|name| name.eq_ignore_ascii_case("<html"));
    name.is_some() && !rest[5..].starts_with(|c: char| c.is_alphanumeric() || c == ':')
}

/// The end of the declaration, comment or document type with which a text begins.
fn end_of_prolog(text: &str) -> Option<usize> {
    let end = if text.starts_with("<!--") { "-->" } else { ">" };
    let is_prolog = text.starts_with("<!") || text.starts_with("<?");
    text.find(end).filter(|_| is_prolog).map(|at| at + end.len())
}

impl Tree<'_> {
    fn take(&mut self, event: Event<'_>) -> Result<(), String> {
        match event {
            Event::Start(tag) => self.open(&tag),
            Event::Empty(tag) => self.open(&tag).map(|()| self.close()),
            Event::End(_) => {
                self.close();
                Ok(())
            }
            Event::Text(text) => self.add_text(&text.xml10_content()),
            Event::CData(text) => self.add_text(&text.xml10_content()),
            Event::GeneralRef(reference) => self.add_reference(&reference),
            Event::DocType(text) if text.contains("<!ENTITY") => {
                Err("it declares entities of its own, which are not read".to_owned())
            }
            Event::Eof => self.end(),
            Event::DocType(_) | Event::Decl(_) | Event::PI(_) | Event::Comment(_) => Ok(()),
        }
    }

    fn open(&mut self, tag: &BytesStart<'_>) -> Result<(), String> {
        let name = tag.name().as_ref().to_owned();
        if self.open.is_empty() && self.root.is_some() {
            return Err(format!("a second root, <{name}>, comes after the first"));
        }
        if self.open.len() == MAX_DEPTH {
            return Err(format!("its elements nest deeper than {MAX_DEPTH}"));
        }
        let mut fields = Map::new();
        for attribute in tag.attributes().with_checks(false) {
            let attribute = attribute.map_err(|error| format!("in <{name}>, {error}"))?;
            let key = format!("@{}", attribute.key.as_ref());
            let value =
                attribute.normalized_value_with(XmlVersion::Implicit1_0, 1, resolve_xml_entity);
            let value = value.map_err(|error| format!("in {key} of <{name}>, {error}"))?;
            if fields.insert(key.clone(), value.as_ref().into()).is_some() {
                return Err(format!("<{name}> has {} twice", &key[1..]));
            }
        }
        self.open.push(Element { name, fields, text: String::new() });
        Ok(())
    }

    fn close(&mut self) {
        let Some(closed) = self.open.pop() else {
            return;
        };
        match self.open.last_mut() {
            Some(parent) => parent.add(closed, self.lists),
            None => self.root = Some(closed),
        }
    }

    fn add_text(&mut self, text: &str) -> Result<(), String> {
        match self.open.last_mut() {
            Some(element) => element.text.push_str(text),
            None if text.trim_matches(SPACE).is_empty() => {}
            None => {
                let text = excerpt(text.trim(), MAX_CHARS);
                return Err(format!("the text {text:?} stands outside of all elements"));
            }
        }
        Ok(())
    }

    fn add_reference(&mut self, reference: &BytesRef<'_>) -> Result<(), String> {
        let name: &str = reference;
        match reference.resolve_char_ref() {
            Ok(Some(character)) => self.add_text(character.encode_utf8(&mut [0; 4])),
            Ok(None) => match resolve_xml_entity(name) {
                Some(text) => self.add_text(text),
                None => Err(format!("the entity &{name}; is none of XML's")),
            },
            Err(error) => Err(format!("in &{name};, {error}")),
        }
    }

    fn end(&self) -> Result<(), String> {
        match (self.open.last(), &self.root) {
            (Some(element), _) => Err(format!("it ends within <{}>", element.name)),
            (None, None) => Err("it has no element".to_owned()),
            (None, Some(_)) => Ok(()),
        }
    }

    /// An object with the root.
    fn value(self) -> Value {
        let root = self.root.into_iter().map(|root| (root.name.clone(), root.value()));
        Value::Object(root.collect())
    }
}

impl Element {
    /// Adds an element that is closed. Elements of one name are a list.
    fn add(&mut self, child: Element, lists: &[String]) {
        let is_list = lists.contains(&child.name);
        match self.fields.entry(child.name.clone()) {
            Entry::Occupied(mut entry) => match entry.get_mut() {
                Value::Array(all) => all.push(child.value()),
                first => *first = Value::Array(vec![first.take(), child.value()]),
            },
            Entry::Vacant(entry) if is_list => {
                entry.insert(Value::Array(vec![child.value()]));
            }
            Entry::Vacant(entry) => {
                entry.insert(child.value());
            }
        }
    }

    /// A text, or null, if it has no attributes and no elements; an object otherwise.
    fn value(mut self) -> Value {
        let text = self.text.trim_matches(SPACE);
        let text = if text.is_empty() { Value::Null } else { text.into() };
        if self.fields.is_empty() {
            return text;
        }
        if !text.is_null() {
            self.fields.insert(TEXT.to_owned(), text);
        }
        Value::Object(self.fields)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Value {
        xml(text, &[]).unwrap()
    }

    #[test]
    fn elements_are_fields() {
        for (text, expected) in [
            (
                "<?xml version=\"1.0\"?><r><item id=\"1\"><price>2.5</price></item></r>",
                json!({"r": {"item": {"@id": "1", "price": "2.5"}}}),
            ),
            (
                "<r><a>1</a><a/><a x='2'>3</a></r>",
                json!({"r": {"a": ["1", null, {"@x": "2", "#text": "3"}]}}),
            ),
            (
                "<r>\n  <a>1</a>\n  <b/>\n  <a>2</a>\n</r>\n",
                json!({"r": {"a": ["1", "2"], "b": null}}),
            ),
            (
                "<d:r xmlns:d=\"http://d\" xmlns=\"http://x\"><d:a d:b=\"c\"/></d:r>",
                json!({"d:r": {"@xmlns:d": "http://d", "@xmlns": "http://x", "d:a": {"@d:b": "c"}}}),
            ),
            ("<r>a &lt; b &amp;amp; &#233;&#x20ac;</r>", json!({"r": "a < b &amp; é€"})),
            ("<r a=\"&quot;x&quot; &amp;&#10;y\n z\"/>", json!({"r": {"@a": "\"x\" &\ny  z"}})),
            ("<r><![CDATA[ <b>&amp;</b>]]> x</r>", json!({"r": "<b>&amp;</b> x"})),
            ("<r>one <b>two</b> three</r>", json!({"r": {"b": "two", "#text": "one  three"}})),
            (
                "<!DOCTYPE r SYSTEM \"r.dtd\"><!-- a --><r><?p i?>1<!-- b -->2</r><!-- c -->",
                json!({"r": "12"}),
            ),
            ("<r/>", json!({"r": null})),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn an_element_that_is_read_as_a_list_is_one() {
        let lists = ["item".to_owned(), "none".to_owned()];
        for (text, expected) in [
            ("<r><item>1</item></r>", json!({"r": {"item": ["1"]}})),
            ("<r><item/></r>", json!({"r": {"item": [null]}})),
            (
                "<r><item>1</item><x/><item>2</item></r>",
                json!({"r": {"item": ["1", "2"], "x": null}}),
            ),
        ] {
            assert_eq!(xml(text, &lists).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_xml_is_told_with_its_line() {
        let deep = "<a>".repeat(MAX_DEPTH + 1);
        for (text, why) in [
            ("", "it has no element"),
            ("oops", "the text \"oops\" stands outside of all elements"),
            ("<r>\n<a></r>", "expected `</a>`, but `</r>` was found, in line 2"),
            ("<r>\n\n<a>", "it ends within <a>, in line 3"),
            ("<r/><s/>", "a second root, <s>, comes after the first"),
            ("<r/>more", "the text \"more\" stands outside"),
            ("<r a=1/>", "in <r>, "),
            ("<r a='1' a='2'/>", "<r> has a twice"),
            ("<r>AT&T</r>", "reference"),
            ("<r>&nbsp;</r>", "the entity &nbsp; is none of XML's"),
            ("<r a='&nbsp;'/>", "in @a of <r>"),
            ("<r>&#0;</r>", "in &#0;"),
            ("<!DOCTYPE r [<!ENTITY a \"b\">]><r>&a;</r>", "it declares entities of its own"),
            (&deep, "its elements nest deeper than 100"),
        ] {
            let failure = xml(text, &[]).unwrap_err();
            assert_eq!(failure.kind, FailureKind::NotXml, "{text}");
            assert!(failure.detail.contains(why), "{text}: {}", failure.detail);
        }
    }

    #[test]
    fn a_page_is_told_by_its_first_element() {
        for (text, expected) in [
            ("<html>", true),
            ("<!DOCTYPE html>\n<HTML lang=en>", true),
            ("<?xml version=\"1.0\"?><!-- > --><html xmlns=\"x\">", true),
            ("<r><html/></r>", false),
            ("<htmlx/>", false),
            ("html", false),
            ("<?xml", false),
        ] {
            assert_eq!(is_page(text), expected, "{text}");
        }
    }
}
