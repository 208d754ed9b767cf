//! A page in HTML: its elements, read as browsers do, with their texts. Pure.

use std::collections::HashMap;

use html5ever::tendril::{StrTendril, TendrilSink};
use html5ever::{LocalName, Namespace, ParseOpts, QualName, parse_document, parse_fragment};

use super::tree::{Node, NodeContent, NodeId, ROOT, TreeBuilder};

/// Maximum depth of nested elements: browsers have the same.
const MAX_DEPTH: usize = 512;

/// Maximum number of nodes.
const MAX_NODES: usize = if cfg!(test) { 1 << 17 } else { 2 << 20 };

/// Number of bytes after which the bounds are checked.
const PART: usize = 4096;

/// Elements that stand apart from the text around them.
#[rustfmt::skip]
const BLOCKS: [&str; 38] = [
    "address", "article", "aside", "blockquote", "br", "caption", "dd", "div", "dl", "dt",
    "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6",
    "header", "hr", "li", "main", "nav", "ol", "option", "p", "section", "table", "tbody", "td",
    "tfoot", "th", "thead", "tr", "ul",
];

/// Elements whose text is no part of that of a page.
const HIDDEN: [&str; 3] = ["script", "style", "template"];

/// Elements whose text stays as it is.
const RAW: [&str; 4] = ["pre", "script", "style", "textarea"];

/// Elements that have no content.
#[rustfmt::skip]
const VOID: [&str; 13] = [
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track",
    "wbr",
];

/// A page, or a part of one.
pub struct Page {
    nodes: Vec<Node>,
    /// The elements in the order of the page.
    order: Vec<NodeId>,
    /// The place of each node that is an element.
    places: Vec<ElementPlace>,
}

/// The place of an element among those with its parent, from 1.
#[derive(Debug, Clone, Default)]
pub struct ElementPlace {
    pub child: i32,
    pub last_child: i32,
    /// The place among those of the same name.
    pub of_type: i32,
    pub last_of_type: i32,
    /// The element before it.
    previous: Option<NodeId>,
}

impl Page {
    /// Reads a page, or a part of one such as `<tr>...</tr>`.
    ///
    /// # Errors
    /// It is nested too deep, or too large.
    pub fn parse(text: &str) -> Result<Page, String> {
        let is_whole = is_whole(text);
        let mut options = ParseOpts::default();
        options.tree_builder.scripting_enabled = false;
        let mut parser = if is_whole {
            parse_document(TreeBuilder::new(), options)
        } else {
            parse_fragment(TreeBuilder::new(), options, context(), Vec::new(), false)
        };
        let mut rest = text;
        while !rest.is_empty() {
            let end = (PART.min(rest.len())..=rest.len()).find(|at| rest.is_char_boundary(*at));
            let (part, after) = rest.split_at(end.unwrap_or(rest.len()));
            parser.process(StrTendril::from(part));
            let tree = &parser.tokenizer.sink.sink;
            if tree.depth() > MAX_DEPTH {
                return Err(format!("the HTML nests deeper than {MAX_DEPTH} elements"));
            }
            if tree.count() > MAX_NODES {
                return Err(format!("the HTML has more than {MAX_NODES} elements and texts"));
            }
            rest = after;
        }
        let nodes = parser.finish();
        let places = vec![ElementPlace::default(); nodes.len()];
        let mut page = Page { nodes, order: Vec::new(), places };
        if !is_whole {
            // The parser puts a part of a page into an element of its own.
            for top in page.nodes[ROOT].children.clone() {
                page.nodes[top].content = NodeContent::Nothing;
            }
        }
        page.set_order();
        Ok(page)
    }

    fn set_order(&mut self) {
        let mut ahead = vec![ROOT];
        while let Some(id) = ahead.pop() {
            let children = &self.nodes[id].children;
            if self.element(id).is_some() {
                self.order.push(id);
            }
            ahead.extend(children.iter().rev());
            let elements: Vec<NodeId> =
                children.iter().copied().filter(|id| self.element(*id).is_some()).collect();
            self.set_places(&elements);
        }
    }

    fn set_places(&mut self, elements: &[NodeId]) {
        let (mut of_type, mut previous) = (HashMap::<LocalName, i32>::new(), None);
        for (at, id) in (1..).zip(elements) {
            let count = of_type.entry(LocalName::from(self.name(*id))).or_default();
            *count += 1;
            let place = &mut self.places[*id];
            (place.child, place.of_type, place.previous) = (at, *count, previous);
            previous = Some(*id);
        }
        for (at, id) in (1..).zip(elements.iter().rev()) {
            let all = of_type.get(&LocalName::from(self.name(*id))).copied().unwrap_or_default();
            let place = &mut self.places[*id];
            (place.last_child, place.last_of_type) = (at, all + 1 - place.of_type);
        }
    }

    /// The number of nodes.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// All elements, in the order of the page.
    pub fn elements(&self) -> impl Iterator<Item = NodeId> {
        self.order.iter().copied()
    }

    pub fn parent(&self, id: NodeId) -> Option<NodeId> {
        self.nodes[id].parent
    }

    /// The element before an element, with the same parent.
    pub fn previous(&self, id: NodeId) -> Option<NodeId> {
        self.places[id].previous
    }

    pub fn place(&self, id: NodeId) -> &ElementPlace {
        &self.places[id]
    }

    fn element(&self, id: NodeId) -> Option<(&str, &[(String, String)])> {
        match &self.nodes[id].content {
            NodeContent::Element { name, attributes } => Some((name, attributes)),
            _ => None,
        }
    }

    /// The name of an element.
    pub fn name(&self, id: NodeId) -> &str {
        self.element(id).map_or("", |(name, _)| name)
    }

    /// The value of an attribute.
    pub fn attribute(&self, id: NodeId, name: &str) -> Option<&str> {
        let (_, attributes) = self.element(id)?;
        attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The text of an element and of all within it, with one space where there is any, and one
    /// between paragraphs, cells and the like. That of a script or the like is as it is.
    pub fn text(&self, id: NodeId) -> String {
        let is_raw = RAW.contains(&self.name(id));
        let mut text = String::new();
        self.walk(id, |node, is_start| match &self.nodes[node].content {
            NodeContent::Text(part) if is_start && (is_raw || !self.is_hidden(node)) => {
                text.push_str(part);
            }
            NodeContent::Element { name, .. } if !is_raw && BLOCKS.contains(&&**name) => {
                text.push(' ');
            }
            _ => {}
        });
        if is_raw {
            return text.trim().to_owned();
        }
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Whether the text is that of a script or the like.
    fn is_hidden(&self, text: NodeId) -> bool {
        self.parent(text).is_some_and(|parent| HIDDEN.contains(&self.name(parent)))
    }

    /// An element with all that is in it, as HTML.
    pub fn html(&self, id: NodeId) -> String {
        let mut html = String::new();
        self.walk(id, |node, is_start| match &self.nodes[node].content {
            NodeContent::Element { name, attributes } if is_start => {
                html.push('<');
                html.push_str(name);
                for (name, value) in attributes {
                    html.push_str(&format!(" {name}=\"{}\"", escaped(value)));
                }
                html.push('>');
            }
            NodeContent::Element { name, .. } if !VOID.contains(&&**name) => {
                html.push_str(&format!("</{name}>"));
            }
            NodeContent::Text(part) if is_start => {
                let is_raw = self.is_hidden(node);
                html.push_str(&if is_raw { part.clone() } else { escaped(part) });
            }
            _ => {}
        });
        html
    }

    /// Goes through a node and all that is in it: at the start of each, and at its end.
    fn walk(&self, id: NodeId, mut take: impl FnMut(NodeId, bool)) {
        let mut ahead = vec![(id, true)];
        while let Some((node, is_start)) = ahead.pop() {
            take(node, is_start);
            if is_start {
                ahead.push((node, false));
                ahead.extend(self.nodes[node].children.iter().rev().map(|child| (*child, true)));
            }
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Whether a text is a whole page, and not a part of one.
fn is_whole(text: &str) -> bool {
    let text = text.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    ["<!doctype", "<?xml", "<!--", "<html", "<head", "<body"].iter().any(|start| {
        let begins = text.get(..start.len());
        let ends = text.get(start.len()..).is_some_and(|rest| !rest.starts_with("er"));
        begins.is_some_and(|begins| begins.eq_ignore_ascii_case(start)) && ends
    })
}

/// The element that a part of a page is read in: any other may be in it.
fn context() -> QualName {
    let namespace = Namespace::from("http://www.w3.org/1999/xhtml");
    QualName::new(None, namespace, LocalName::from("template"))
}
