//! Values at plain paths such as `.quotes[0].price`, without jq. Pure.
//!
//! [`PathScanner`] extracts the values of all paths in one pass over a text, which is checked
//! to be JSON. A text that the scanner finds unusual is left to the full parser, whose
//! document each [`Path`] can be followed through.

use std::fmt;

use serde_json::Value;

use super::scanner::{Scanner, Unusual};

/// The steps of a path.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Path {
    steps: Vec<PathStep>,
}

/// One step of a path.
#[derive(Debug, Clone, PartialEq)]
enum PathStep {
    /// The field of this name.
    Key(String),
    /// The item at this index, from the end if negative.
    Index(i64),
}

/// The value of each path: null if it is missing; the error is why the path can't be
/// followed.
pub type PathValues = Vec<Result<Value, String>>;

/// Paths, compiled to be followed together.
pub struct PathScanner {
    root: Node,
    paths: Vec<Path>,
}

/// The extracted parts of one value.
enum Node {
    /// The whole value, for these paths from here.
    Whole(Vec<(usize, Path)>),
    /// These fields of an object.
    Fields(Vec<(String, Node)>),
    /// These items of a list, by index.
    Items(Vec<(usize, Node)>),
}

impl Path {
    /// The path, if the program is one of names and whole numbers alone.
    pub fn parse(program: &str) -> Option<Path> {
        let mut rest = program.trim();
        let mut steps = Vec::new();
        if !rest.starts_with('.') {
            return None;
        }
        if rest == "." {
            return Some(Path { steps });
        }
        while !rest.is_empty() {
            let (step, after) = next_step(rest, steps.is_empty())?;
            steps.push(step);
            rest = after;
        }
        Some(Path { steps })
    }

    /// The first step, and the path from there.
    fn split_first(&self) -> Option<(&PathStep, Path)> {
        let (first, rest) = self.steps.split_first()?;
        Some((first, Path { steps: rest.to_vec() }))
    }

    /// The last value on the path that is not null, with the path to it.
    pub fn deepest<'a>(&self, body: &'a Value) -> (String, &'a Value) {
        let lengths = (0..self.steps.len()).rev();
        let mut starts = lengths.map(|length| Path { steps: self.steps[..length].to_vec() });
        let found = starts.find_map(|start| {
            let value = start.walk(body).ok().filter(|value| !value.is_null())?;
            Some((start.to_string(), value))
        });
        found.unwrap_or_else(|| (Path::default().to_string(), body))
    }

    /// The value at the path; null where jq gives null, an error where jq gives one.
    pub fn walk<'a>(&self, body: &'a Value) -> Result<&'a Value, String> {
        self.steps.iter().try_fold(body, |value, step| match step {
            PathStep::Key(key) => by_key(value, key),
            PathStep::Index(index) => by_index(value, *index),
        })
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !matches!(self.steps.first(), Some(PathStep::Key(_))) {
            f.write_str(".")?;
        }
        self.steps.iter().try_for_each(|step| match step {
            PathStep::Key(key) => write!(f, ".{key}"),
            PathStep::Index(index) => write!(f, "[{index}]"),
        })
    }
}

/// The step of `.name`, `[3]`, or `.[3]`, and the text after it.
fn next_step(text: &str, first: bool) -> Option<(PathStep, &str)> {
    let dotted = text.strip_prefix('.');
    if first && dotted.is_none() {
        return None;
    }
    if let Some(inside) = dotted.unwrap_or(text).strip_prefix('[') {
        let (index, after) = inside.split_once(']')?;
        return Some((PathStep::Index(index.parse().ok()?), after));
    }
    let name = dotted?;
    let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(name.len());
    let (name, after) = name.split_at(end);
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    is_name.then(|| (PathStep::Key(name.to_owned()), after))
}

fn by_key<'a>(value: &'a Value, key: &str) -> Result<&'a Value, String> {
    match value {
        Value::Object(fields) => Ok(fields.get(key).unwrap_or(&Value::Null)),
        Value::Null => Ok(value),
        _ => Err(format!("cannot take .{key} of {}", kind(value))),
    }
}

fn by_index(value: &Value, index: i64) -> Result<&Value, String> {
    match value {
        Value::Array(items) => {
            let from_start = match index {
                0.. => usize::try_from(index).ok(),
                _ => usize::try_from(-index).ok().and_then(|back| items.len().checked_sub(back)),
            };
            Ok(from_start.and_then(|at| items.get(at)).unwrap_or(&Value::Null))
        }
        // In jq an object may have a number as a key, so this is no error.
        Value::Null | Value::Object(_) => Ok(&Value::Null),
        _ => Err(format!("cannot take [{index}] of {}", kind(value))),
    }
}

/// The kind of a value in words.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

impl PathScanner {
    /// Compiles these paths; values have the same order.
    pub fn new(paths: Vec<Path>) -> PathScanner {
        let root = Node::new(paths.iter().cloned().enumerate().collect());
        PathScanner { root, paths }
    }

    /// The values of a JSON text, null for those that are missing, in one pass over all of it,
    /// without building the rest.
    pub fn scan(&self, text: &str) -> Result<Vec<Value>, Unusual> {
        let mut found = vec![Value::Null; self.paths.len()];
        let mut json = Scanner::new(text);
        self.root.walk(&mut json, &mut found)?;
        json.end()?;
        Ok(found)
    }

    /// The path with this index.
    pub fn path(&self, index: usize) -> Option<&Path> {
        self.paths.get(index)
    }

    /// The values of a document, by the full parser.
    pub fn follow(&self, document: &Value) -> PathValues {
        self.paths.iter().map(|path| path.walk(document).cloned()).collect()
    }
}

impl Node {
    fn new(paths: Vec<(usize, Path)>) -> Node {
        let mut fields: Vec<(String, Vec<(usize, Path)>)> = Vec::new();
        let mut items: Vec<(usize, Vec<(usize, Path)>)> = Vec::new();
        for (slot, path) in &paths {
            match path.split_first() {
                Some((PathStep::Key(key), rest)) => {
                    add_path(&mut fields, key.clone(), (*slot, rest))
                }
                Some((PathStep::Index(at @ 0..), rest)) => {
                    add_path(&mut items, *at as usize, (*slot, rest))
                }
                // The value itself is extracted, or an item counted from the end.
                _ => return Node::Whole(paths),
            }
        }
        match (fields.is_empty(), items.is_empty()) {
            (false, true) => Node::Fields(nodes(fields)),
            (true, false) => Node::Items(nodes(items)),
            _ => Node::Whole(paths),
        }
    }

    /// Extracts from the next value.
    fn walk(&self, json: &mut Scanner<'_>, found: &mut [Value]) -> Result<(), Unusual> {
        match (self, json.peek()?) {
            (Node::Whole(paths), _) => take_whole(paths, json.value()?, found),
            (Node::Fields(fields), b'{') => walk_fields(fields, json, found),
            (Node::Items(items), b'[') => walk_items(items, json, found),
            // The parts of null are null.
            (_, b'n') => json.skip(),
            // The full parser reports why other types have no parts.
            _ => Err(Unusual),
        }
    }

    /// Clears the values from here: of two fields with one name the last one counts.
    fn clear(&self, found: &mut [Value]) {
        match self {
            Node::Whole(paths) => paths.iter().for_each(|(slot, _)| found[*slot] = Value::Null),
            Node::Fields(fields) => fields.iter().for_each(|(_, node)| node.clear(found)),
            Node::Items(items) => items.iter().for_each(|(_, node)| node.clear(found)),
        }
    }
}

/// Extracts from a value that is extracted itself. The full parser reports why a path can't be
/// followed.
fn take_whole(paths: &[(usize, Path)], value: Value, found: &mut [Value]) -> Result<(), Unusual> {
    if let [(slot, path)] = paths
        && path.steps.is_empty()
    {
        found[*slot] = value;
        return Ok(());
    }
    for (slot, path) in paths {
        found[*slot] = path.walk(&value).map_err(|_| Unusual)?.clone();
    }
    Ok(())
}

fn walk_fields(
    fields: &[(String, Node)],
    json: &mut Scanner<'_>,
    found: &mut [Value],
) -> Result<(), Unusual> {
    json.expect(b'{')?;
    if json.take(b'}')? {
        return Ok(());
    }
    // One bit for each field that has been there; all from the 64th on share one.
    let mut seen = 0_u64;
    let wanted = |key: &[u8]| fields.iter().position(|(name, _)| name.as_bytes() == key);
    while let Some(index) = json.field(wanted)? {
        let (bit, node) = (1 << index.min(63), &fields[index].1);
        if seen & bit != 0 {
            node.clear(found);
        }
        seen |= bit;
        node.walk(json, found)?;
        if !json.take(b',')? {
            return json.expect(b'}');
        }
    }
    Ok(())
}

fn walk_items(
    items: &[(usize, Node)],
    json: &mut Scanner<'_>,
    found: &mut [Value],
) -> Result<(), Unusual> {
    json.expect(b'[')?;
    if json.take(b']')? {
        return Ok(());
    }
    for place in 0.. {
        match items.iter().find(|(at, _)| *at == place) {
            None => json.skip()?,
            Some((_, node)) => node.walk(json, found)?,
        }
        if !json.take(b',')? {
            break;
        }
    }
    json.expect(b']')
}

fn add_path<K: PartialEq>(groups: &mut Vec<(K, Vec<(usize, Path)>)>, key: K, path: (usize, Path)) {
    match groups.iter_mut().find(|(known, _)| *known == key) {
        Some((_, paths)) => paths.push(path),
        None => groups.push((key, vec![path])),
    }
}

fn nodes<K>(groups: Vec<(K, Vec<(usize, Path)>)>) -> Vec<(K, Node)> {
    let node = |(key, paths)| (key, Node::new(paths));
    groups.into_iter().map(node).collect()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::super::jq::{JqInput, Program};
    use super::*;

    #[test]
    fn a_path_gives_what_jq_gives() {
        let body = json!({"a": {"b": [1, {"c": "x"}, null]}, "_": 3, "n": 1.50});
        for path in [
            ".",
            ".a",
            ".a.b",
            ".a.b[0]",
            ".a.b.[1]",
            ".a.b[1].c",
            ".a.b[-1]",
            ".a.b[-9]",
            ".a.b[7]",
            ".a.b[2].x[0]",
            "._",
            ".none",
            ".none.more",
            ".n",
            ".a[0]",
            "._.x",
            ".a.b.c",
        ] {
            let direct = Path::parse(path).unwrap().walk(&body).cloned();
            let by_jq = Program::new(path).unwrap().run(&JqInput::deserialize(&body).unwrap());
            assert_eq!(direct.ok(), by_jq.ok(), "{path}");
        }
    }

    #[test]
    fn what_is_more_than_a_path_is_left_to_jq() {
        for program in [
            "", "a", ".a | .b", ".[]", ".a?", ".\"a b\"", "..", ".a-b", ".[0:2]", ".a.", ".0a",
            "[0]",
        ] {
            assert_eq!(Path::parse(program), None, "{program}");
        }
    }

    #[test]
    fn together_they_come_to_what_each_comes_to_alone() {
        let paths: Vec<Path> = [
            ".",
            ".a",
            ".a.b",
            ".a.b[0]",
            ".a.b[2].c",
            ".a.b[-1]",
            ".n",
            ".n.x",
            ".t[0]",
            ".[1]",
            ".a.none",
            ".list[1]",
            ".list[1].x",
            ".list.x",
            ".twice.y",
            ".nothing.x[0]",
        ]
        .iter()
        .map(|path| Path::parse(path).unwrap())
        .collect();
        for body in [
            r#"{"a": {"b": [1, {"skip": [1, "\u0041"]}, {"c": "x"}]}, "n": 1.5, "t": "text",
                "list": [0, {"x": true}], "twice": {"x": 1}, "nothing": null, "twice": {"y": 2}}"#,
            r#"[1, {"a": 2}, 3]"#,
            "7",
            "null",
            "\"text\"",
            "{}",
        ] {
            let whole: Value = serde_json::from_str(body).unwrap();
            // Without those that want everything, and each by itself.
            let sets = [&paths[..], &paths[1..], &paths[2..9], &paths[10..]];
            let alone = paths.iter().map(std::slice::from_ref);
            for set in sets.into_iter().chain(alone) {
                let scanner = PathScanner::new(set.to_vec());
                let scanned = scanner.scan(body).map(|found| found.into_iter().map(Ok).collect());
                let found = scanned.unwrap_or_else(|_| scanner.follow(&whole));
                let expected: PathValues =
                    set.iter().map(|path| path.walk(&whole).cloned()).collect();
                assert_eq!(found, expected, "{body}");
            }
        }
    }
}
