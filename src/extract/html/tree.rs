//! The tree that a parser of HTML builds, as nodes in one list. Pure.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use html5ever::interface::{ElementFlags, NodeOrText, QuirksMode, TreeSink};
use html5ever::tendril::StrTendril;
use html5ever::{Attribute, ExpandedName, LocalName, Namespace, QualName};

/// The index of a node.
pub type NodeId = usize;

/// The index of the node that all others are in.
pub const ROOT: NodeId = 0;

/// A node.
#[derive(Debug, Default)]
pub struct Node {
    pub parent: Option<NodeId>,
    pub children: Vec<NodeId>,
    pub content: NodeContent,
    depth: usize,
}

/// The content of a node beside its children.
#[derive(Debug, Default)]
pub enum NodeContent {
    /// The root, a comment, or the like.
    #[default]
    Nothing,
    Text(String),
    Element {
        name: LocalName,
        attributes: Vec<(String, String)>,
    },
}

/// A node as the parser knows it, with its name if it is an element.
#[derive(Clone)]
pub struct Handle {
    id: NodeId,
    name: Option<Rc<QualName>>,
}

/// Takes the nodes of a parser.
#[derive(Default)]
pub struct TreeBuilder {
    nodes: RefCell<Vec<Node>>,
    depth: Cell<usize>,
    nothing: Nothing,
}

/// The name of a node that is no element.
struct Nothing {
    namespace: Namespace,
    name: LocalName,
}

impl Default for Nothing {
    fn default() -> Nothing {
        Nothing { namespace: Namespace::from(""), name: LocalName::from("") }
    }
}

impl TreeBuilder {
    /// A tree with the root alone.
    pub fn new() -> TreeBuilder {
        TreeBuilder { nodes: RefCell::new(vec![Node::default()]), ..TreeBuilder::default() }
    }

    /// The number of nodes so far.
    pub fn count(&self) -> usize {
        self.nodes.borrow().len()
    }

    /// The depth of the deepest node so far.
    pub fn depth(&self) -> usize {
        self.depth.get()
    }

    fn add(&self, content: NodeContent) -> NodeId {
        let mut nodes = self.nodes.borrow_mut();
        nodes.push(Node { content, ..Node::default() });
        nodes.len() - 1
    }

    fn detach(&self, id: NodeId) {
        let mut nodes = self.nodes.borrow_mut();
        if let Some(parent) = nodes[id].parent.take() {
            // Most nodes that move are at the end of a list.
            let at = nodes[parent].children.iter().rposition(|child| *child == id);
            at.map(|at| nodes[parent].children.remove(at));
        }
    }

    /// Puts a node or a text before the child at this index.
    fn insert(&self, parent: NodeId, at: usize, child: NodeOrText<Handle>) {
        let id = match child {
            NodeOrText::AppendNode(node) => {
                self.detach(node.id);
                node.id
            }
            NodeOrText::AppendText(text) => {
                let mut nodes = self.nodes.borrow_mut();
                let before = at.checked_sub(1).map(|before| nodes[parent].children[before]);
                if let Some(before) = before
                    && let NodeContent::Text(known) = &mut nodes[before].content
                {
                    known.push_str(&text);
                    return;
                }
                drop(nodes);
                self.add(NodeContent::Text(text.to_string()))
            }
        };
        let mut nodes = self.nodes.borrow_mut();
        let depth = nodes[parent].depth + 1;
        self.depth.set(depth.max(self.depth.get()));
        nodes[id].parent = Some(parent);
        nodes[id].depth = depth;
        let at = at.min(nodes[parent].children.len());
        nodes[parent].children.insert(at, id);
    }
}

impl TreeSink for TreeBuilder {
    type Handle = Handle;
    type Output = Vec<Node>;
    type ElemName<'a> = ExpandedName<'a>;

    fn finish(self) -> Vec<Node> {
        self.nodes.into_inner()
    }

    fn parse_error(&self, _: Cow<'static, str>) {}

    fn get_document(&self) -> Handle {
        Handle { id: ROOT, name: None }
    }

    fn elem_name<'a>(&'a self, target: &'a Handle) -> ExpandedName<'a> {
        match &target.name {
            Some(name) => name.expanded(),
            None => ExpandedName { ns: &self.nothing.namespace, local: &self.nothing.name },
        }
    }

    fn create_element(&self, name: QualName, attrs: Vec<Attribute>, _: ElementFlags) -> Handle {
        let attributes = attrs.iter().map(pair).collect();
        let id = self.add(NodeContent::Element { name: name.local.clone(), attributes });
        Handle { id, name: Some(Rc::new(name)) }
    }

    fn create_comment(&self, _: StrTendril) -> Handle {
        Handle { id: self.add(NodeContent::Nothing), name: None }
    }

    fn create_pi(&self, _: StrTendril, _: StrTendril) -> Handle {
        Handle { id: self.add(NodeContent::Nothing), name: None }
    }

    fn append(&self, parent: &Handle, child: NodeOrText<Handle>) {
        let at = self.nodes.borrow()[parent.id].children.len();
        self.insert(parent.id, at, child);
    }

    fn append_based_on_parent_node(
        &self,
        element: &Handle,
        before: &Handle,
        child: NodeOrText<Handle>,
    ) {
        let has_parent = self.nodes.borrow()[element.id].parent.is_some();
        if has_parent {
            self.append_before_sibling(element, child);
        } else {
            self.append(before, child);
        }
    }

    fn append_doctype_to_document(&self, _: StrTendril, _: StrTendril, _: StrTendril) {}

    fn get_template_contents(&self, target: &Handle) -> Handle {
        target.clone()
    }

    fn same_node(&self, x: &Handle, y: &Handle) -> bool {
        x.id == y.id
    }

    fn set_quirks_mode(&self, _: QuirksMode) {}

    fn append_before_sibling(&self, sibling: &Handle, child: NodeOrText<Handle>) {
        if let NodeOrText::AppendNode(node) = &child {
            self.detach(node.id);
        }
        let nodes = self.nodes.borrow();
        let Some(parent) = nodes[sibling.id].parent else {
            return;
        };
        let at = nodes[parent].children.iter().rposition(|child| *child == sibling.id);
        drop(nodes);
        self.insert(parent, at.unwrap_or_default(), child);
    }

    fn add_attrs_if_missing(&self, target: &Handle, attrs: Vec<Attribute>) {
        let mut nodes = self.nodes.borrow_mut();
        if let NodeContent::Element { attributes, .. } = &mut nodes[target.id].content {
            for (name, value) in attrs.iter().map(pair) {
                if attributes.iter().all(|(known, _)| *known != name) {
                    attributes.push((name, value));
                }
            }
        }
    }

    fn remove_from_parent(&self, target: &Handle) {
        self.detach(target.id);
    }

    fn reparent_children(&self, node: &Handle, new_parent: &Handle) {
        let mut nodes = self.nodes.borrow_mut();
        let children = std::mem::take(&mut nodes[node.id].children);
        for child in &children {
            nodes[*child].parent = Some(new_parent.id);
        }
        nodes[new_parent.id].children.extend(children);
    }
}

/// The name and the value of an attribute.
fn pair(attribute: &Attribute) -> (String, String) {
    let prefix = attribute.name.prefix.as_ref().map(|prefix| format!("{prefix}:"));
    let name = format!("{}{}", prefix.unwrap_or_default(), attribute.name.local);
    (name, attribute.value.to_string())
}
