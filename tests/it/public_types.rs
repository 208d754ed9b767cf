//! The public interface has no type of a dependency but those that are part of it on purpose: a
//! newer version of any other one must not break programs that use the library.
//!
//! The sources are read as the compiler reads them, as far as names go: from the public names of
//! a crate's root to the types in the signatures of their public functions and fields, and on to
//! those of these types. What is hidden from the documentation is no part of the interface.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};
use syn::{Attribute, ImplItem, Item, ItemImpl, ItemUse, TraitItem, UseTree, Visibility};

use crate::structure::files;

/// Crates whose types the interface may have, beside those of the workspace. Types that can be
/// serialised implement the traits of serde.
const COMMON: [&str; 9] = [
    "std",
    "core",
    "alloc",
    "bytes",
    "futures_core",
    "http",
    "serde",
    "serde_json",
    "throng_limit",
];

#[test]
fn no_type_of_another_dependency_is_public() {
    let found = Sources::read("throng", "src").foreign(&["arrow_array"]);
    assert_eq!(found, [""; 0], "types of dependencies in the interface of throng");
    let found = Sources::read("throng_limit", "crates/throng-limit/src").foreign(&[]);
    assert_eq!(found, [""; 0], "types of dependencies in the interface of throng-limit");
    // A layer of tower and a middleware of reqwest are what these crates are for.
    let tower = ["http_body", "tower_layer", "tower_service"];
    let found = Sources::read("throng_tower", "crates/throng-tower/src").foreign(&tower);
    assert_eq!(found, [""; 0], "types of dependencies in the interface of throng-tower");
    let reqwest = ["reqwest", "reqwest_middleware"];
    let found = Sources::read("throng_reqwest", "crates/throng-reqwest/src").foreign(&reqwest);
    assert_eq!(found, [""; 0], "types of dependencies in the interface of throng-reqwest");
}

#[test]
fn foreign_types_are_found_wherever_they_are_public() {
    let root = "
        mod a;
        pub use a::{Shown, Shape as Form};
        #[doc(hidden)]
        pub use a::Hidden;
        pub mod b { pub fn free() -> std::sync::Arc<other::Free> {} fn own() -> other::Own {} }
    ";
    let a = "
        use other::{Deep, Renamed as Given};
        use super::c::*;
        pub struct Shown { pub field: Vec<Inner>, own: other::Private, #[doc(hidden)] pub it: other::No }
        pub struct Hidden { pub field: other::Hidden }
        pub enum Shape { Round(Deep), #[doc(hidden)] Square(other::No) }
        impl Shown {
            pub fn given(&self, given: impl Fn(Given)) -> Result<(), ()> {}
            #[doc(hidden)] pub fn hidden() -> other::No {}
            pub(crate) fn crates() -> other::No {}
            fn own() -> other::Own {}
        }
        impl From<other::From> for Shown { fn from(it: other::From) -> Shown {} }
        impl Iterator for Shown { type Item = other::Item; fn next(&mut self) -> other::Item {} }
        #[cfg(test)] mod tests { impl super::Shown { pub fn test() -> other::Test {} } }
    ";
    let c = "pub struct Inner; impl Inner { pub fn of(common: http::Uri) -> &'static dyn other::Trait {} }";
    let sources = Sources::of("own", &[("lib.rs", root), ("a.rs", a), ("c/mod.rs", c)]);
    let found = sources.foreign(&[]);
    let found: Vec<&str> = found.iter().map(|it| it.split(" (").next().unwrap()).collect();
    let expected = [
        "Inner::of: other::Trait",
        "Shape::Round: other::Deep",
        "Shown as From: other::From",
        "Shown as Iterator: other::Item",
        "Shown::given: other::Renamed",
        "free: other::Free",
    ];
    assert_eq!(found, expected);
    assert_eq!(sources.foreign(&["other"]), [""; 0]);
}

/// The path of a module, from the crate's root.
type ModulePath = Vec<String>;

/// An item by the module that has it and its name.
type ItemPath = (ModulePath, String);

/// The sources of a crate.
struct Sources {
    name: String,
    modules: BTreeMap<ModulePath, Module>,
}

#[derive(Default)]
struct Module {
    file: PathBuf,
    items: Vec<Item>,
    /// The path of each name that is imported.
    imports: BTreeMap<String, Import>,
    /// The paths all of whose names are imported.
    globs: Vec<Import>,
}

struct Import {
    path: Vec<String>,
    is_public: bool,
}

/// What a path stands for.
#[derive(Debug)]
enum Meaning {
    Own(ItemPath),
    Module(ModulePath),
    Foreign(Vec<String>),
    /// A parameter, a type of the language, or a name of the prelude.
    Other,
}

impl Sources {
    fn read(name: &str, folder: &str) -> Sources {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let files = files(&folder).into_iter().map(|file| {
            let text = fs::read_to_string(&file).unwrap();
            (file.strip_prefix(&folder).unwrap().to_owned(), text)
        });
        Sources::of_files(name, files)
    }

    fn of(name: &str, files: &[(&str, &str)]) -> Sources {
        Sources::of_files(name, files.iter().map(|(file, text)| (file.into(), (*text).to_owned())))
    }

    fn of_files(name: &str, files: impl Iterator<Item = (PathBuf, String)>) -> Sources {
        let mut sources = Sources { name: name.to_owned(), modules: BTreeMap::new() };
        for (file, text) in files.filter(|(file, _)| !is_test(file)) {
            let parsed = syn::parse_file(&text).unwrap();
            sources.add(module_path(&file), &file, parsed.items);
        }
        sources
    }

    /// Adds a module, and those inside of it.
    fn add(&mut self, path: ModulePath, file: &Path, items: Vec<Item>) {
        let mut module = Module { file: file.to_owned(), ..Module::default() };
        for item in items.into_iter().filter(|item| !is_of_tests(attributes(item))) {
            match item {
                Item::Use(item) => module.import(&item),
                Item::Mod(mut inner) if inner.content.is_some() => {
                    let (_, items) = inner.content.take().unwrap();
                    self.add(joined(&path, &inner.ident.to_string()), file, items);
                    module.items.push(Item::Mod(inner));
                }
                item => module.items.push(item),
            }
        }
        self.modules.insert(path, module);
    }

    /// The types of other crates in the interface, but for those that are common and these.
    fn foreign(&self, allowed: &[&str]) -> Vec<String> {
        let mut interface = Interface { sources: self, todo: Vec::new(), uses: BTreeSet::new() };
        interface.enter_module(&Vec::new());
        let mut done = BTreeSet::new();
        let implementations = self.implementations();
        while let Some(item) = interface.todo.pop() {
            if done.insert(item.clone()) {
                interface.enter(&item, implementations.get(&item).map_or(&[], Vec::as_slice));
            }
        }
        let is_foreign = |krate: &str| {
            !COMMON.contains(&krate) && !allowed.contains(&krate) && krate != self.name
        };
        let uses = interface.uses.into_iter().filter(|(_, path)| is_foreign(&path[0]));
        uses.map(|(place, path)| {
            let (place, file) = place;
            format!("{place}: {} ({file})", path.join("::"))
        })
        .collect()
    }

    /// The implementations of each type, and the modules that have them.
    fn implementations(&self) -> BTreeMap<ItemPath, Vec<(&ModulePath, &ItemImpl)>> {
        let mut found = BTreeMap::<_, Vec<_>>::new();
        for (path, module) in &self.modules {
            for item in &module.items {
                if let Item::Impl(item) = item
                    && let syn::Type::Path(of) = &*item.self_ty
                    && let Meaning::Own(of) = self.meaning(path, &segments(&of.path))
                {
                    found.entry(of).or_default().push((path, item));
                }
            }
        }
        found
    }

    /// What a path stands for in a module.
    fn meaning(&self, at: &ModulePath, path: &[String]) -> Meaning {
        self.meaning_by(at, path, &mut BTreeSet::new())
    }

    fn meaning_by(
        &self,
        at: &ModulePath,
        path: &[String],
        seen: &mut BTreeSet<(ModulePath, Vec<String>)>,
    ) -> Meaning {
        let Some((first, rest)) = path.split_first().filter(|_| {
            // Imports of all names may lead back to their own module.
            seen.insert((at.clone(), path.to_vec()))
        }) else {
            return Meaning::Other;
        };
        let parent = || at[..at.len().saturating_sub(1)].to_vec();
        match first.as_str() {
            "crate" if rest.is_empty() => return Meaning::Module(Vec::new()),
            "super" if rest.is_empty() => return Meaning::Module(parent()),
            "self" if rest.is_empty() => return Meaning::Module(at.clone()),
            "crate" => return self.meaning_by(&Vec::new(), rest, seen),
            "super" => return self.meaning_by(&parent(), rest, seen),
            "self" => return self.meaning_by(at, rest, seen),
            _ => {}
        }
        match self.name_in(at, first, seen) {
            Meaning::Module(module) if rest.is_empty() => Meaning::Module(module),
            Meaning::Module(module) => self.meaning_by(&module, rest, seen),
            Meaning::Foreign(krate) => Meaning::Foreign([&krate, rest].concat()),
            Meaning::Other if !rest.is_empty() && first.chars().all(is_of_crate) => {
                Meaning::Foreign(path.to_vec())
            }
            meaning => meaning,
        }
    }

    /// What a name stands for in a module.
    fn name_in(
        &self,
        at: &ModulePath,
        name: &str,
        seen: &mut BTreeSet<(ModulePath, Vec<String>)>,
    ) -> Meaning {
        let Some(module) = self.modules.get(at) else { return Meaning::Other };
        let inner = joined(at, name);
        if self.modules.contains_key(&inner) {
            return Meaning::Module(inner);
        }
        if module.items.iter().any(|item| is_named(item, name)) {
            return Meaning::Own((at.clone(), name.to_owned()));
        }
        if let Some(import) = module.imports.get(name) {
            return match self.meaning_by(at, &import.path, seen) {
                Meaning::Other if import.path.len() == 1 => Meaning::Foreign(import.path.clone()),
                meaning => meaning,
            };
        }
        for glob in &module.globs {
            if let Meaning::Module(from) = self.meaning_by(at, &glob.path, seen)
                && let own @ (Meaning::Own(_) | Meaning::Module(_)) =
                    self.meaning_by(&from, &[name.to_owned()], seen)
            {
                return own;
            }
        }
        Meaning::Other
    }
}

impl Module {
    fn import(&mut self, item: &ItemUse) {
        self.import_tree(&mut Vec::new(), &item.tree, is_shown(&item.vis, &item.attrs));
    }

    fn import_tree(&mut self, before: &mut Vec<String>, tree: &UseTree, is_public: bool) {
        match tree {
            UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.import_tree(before, &path.tree, is_public);
                before.pop();
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.import_tree(before, tree, is_public);
                }
            }
            UseTree::Glob(_) => self.globs.push(Import { path: before.clone(), is_public }),
            UseTree::Name(name) if name.ident == "self" => {
                let last = before.last().cloned().unwrap_or_default();
                self.imports.insert(last, Import { path: before.clone(), is_public });
            }
            UseTree::Name(name) => {
                let name = name.ident.to_string();
                let path = joined(before, &name);
                self.imports.insert(name, Import { path, is_public });
            }
            UseTree::Rename(rename) => {
                let path = joined(before, &rename.ident.to_string());
                self.imports.insert(rename.rename.to_string(), Import { path, is_public });
            }
        }
    }
}

/// The public interface, as far as it has been walked through.
struct Interface<'a> {
    sources: &'a Sources,
    todo: Vec<ItemPath>,
    /// The paths of other crates, each with its place: an item and a file.
    uses: BTreeSet<((String, String), Vec<String>)>,
}

impl Interface<'_> {
    /// Takes the public names of a module.
    fn enter_module(&mut self, path: &ModulePath) {
        let module = &self.sources.modules[path];
        let public = module.imports.iter().filter(|(_, import)| import.is_public);
        for name in public.map(|(name, _)| name) {
            match self.sources.meaning(path, std::slice::from_ref(name)) {
                Meaning::Own(item) => self.todo.push(item),
                Meaning::Module(inner) => self.enter_module(&inner),
                Meaning::Foreign(foreign) => self.note(path, name, foreign),
                Meaning::Other => {}
            }
        }
        for glob in module.globs.iter().filter(|glob| glob.is_public) {
            match self.sources.meaning(path, &glob.path) {
                Meaning::Module(inner) => self.enter_module(&inner),
                _ => self.note(path, "*", glob.path.clone()),
            }
        }
        for item in module.items.iter().filter(|item| is_public(item)) {
            let name = name_of(item).unwrap_or_default();
            if let Item::Mod(_) = item {
                self.enter_module(&joined(path, &name));
            } else {
                self.todo.push((path.clone(), name));
            }
        }
    }

    fn note(&mut self, at: &ModulePath, place: &str, path: Vec<String>) {
        let file = self.sources.modules[at].file.display().to_string();
        self.uses.insert(((place.to_owned(), file), path));
    }

    /// Takes what is public of an item.
    fn enter(&mut self, (at, name): &ItemPath, implementations: &[(&ModulePath, &ItemImpl)]) {
        let items = &self.sources.modules[at].items;
        for item in items.iter().filter(|item| is_named(item, name)) {
            self.enter_item(at, name, item);
        }
        for (at, item) in implementations {
            match &item.trait_ {
                Some((_, of, _)) => self.enter_trait_impl(at, name, of, item),
                None => self.enter_impl(at, name, item),
            }
        }
    }

    fn enter_item(&mut self, at: &ModulePath, name: &str, item: &Item) {
        let mut paths = Paths::default();
        match item {
            Item::Struct(item) => {
                paths.visit_generics(&item.generics);
                for field in &item.fields {
                    if is_shown(&field.vis, &field.attrs) {
                        paths.visit_type(&field.ty);
                    }
                }
            }
            Item::Enum(item) => {
                paths.visit_generics(&item.generics);
                for variant in item.variants.iter().filter(|it| !is_hidden(&it.attrs)) {
                    let place = format!("{name}::{}", variant.ident);
                    let mut paths = Paths::default();
                    paths.visit_fields(&variant.fields);
                    self.take(at, &place, paths);
                }
            }
            Item::Trait(item) => {
                paths.visit_generics(&item.generics);
                item.supertraits.iter().for_each(|it| paths.visit_type_param_bound(it));
                for item in &item.items {
                    match item {
                        TraitItem::Fn(item) if !is_hidden(&item.attrs) => {
                            paths.visit_signature(&item.sig);
                        }
                        TraitItem::Type(item) => paths.visit_trait_item_type(item),
                        _ => {}
                    }
                }
            }
            Item::Fn(item) => paths.visit_signature(&item.sig),
            Item::Type(item) => paths.visit_type(&item.ty),
            Item::Const(item) => paths.visit_type(&item.ty),
            _ => {}
        }
        self.take(at, name, paths);
    }

    fn enter_impl(&mut self, at: &ModulePath, name: &str, item: &ItemImpl) {
        for item in &item.items {
            let mut paths = Paths::default();
            let of = match item {
                ImplItem::Fn(item) if is_shown(&item.vis, &item.attrs) => {
                    paths.visit_signature(&item.sig);
                    &item.sig.ident
                }
                ImplItem::Const(item) if is_shown(&item.vis, &item.attrs) => {
                    paths.visit_type(&item.ty);
                    &item.ident
                }
                _ => continue,
            };
            self.take(at, &format!("{name}::{of}"), paths);
        }
    }

    /// An implementation of a trait gives the trait, and the types that belong to it.
    fn enter_trait_impl(&mut self, at: &ModulePath, name: &str, of: &syn::Path, item: &ItemImpl) {
        let mut paths = Paths::default();
        paths.visit_path(of);
        for item in &item.items {
            if let ImplItem::Type(item) = item {
                paths.visit_type(&item.ty);
            }
        }
        let of = of.segments.last().unwrap();
        self.take(at, &format!("{name} as {}", of.ident), paths);
    }

    fn take(&mut self, at: &ModulePath, place: &str, paths: Paths) {
        for path in paths.0 {
            match self.sources.meaning(at, &path) {
                Meaning::Own(item) => self.todo.push(item),
                Meaning::Foreign(path) => self.note(at, place, path),
                Meaning::Module(_) | Meaning::Other => {}
            }
        }
    }
}

/// The paths in a signature or a type.
#[derive(Default)]
struct Paths(Vec<Vec<String>>);

impl<'a> Visit<'a> for Paths {
    fn visit_path(&mut self, path: &'a syn::Path) {
        self.0.push(segments(path));
        visit::visit_path(self, path);
    }

    fn visit_attribute(&mut self, _: &'a Attribute) {}
}

fn segments(path: &syn::Path) -> Vec<String> {
    path.segments.iter().map(|segment| segment.ident.to_string()).collect()
}

fn joined(path: &[String], name: &str) -> Vec<String> {
    [path, &[name.to_owned()]].concat()
}

/// `a`, `b` for `a/b.rs` and `a/b/mod.rs`.
fn module_path(file: &Path) -> ModulePath {
    let parts = file.with_extension("");
    let mut parts: Vec<String> = parts.iter().map(|it| it.to_str().unwrap().to_owned()).collect();
    if parts.last().is_some_and(|last| ["lib", "mod"].contains(&last.as_str())) {
        parts.pop();
    }
    parts
}

fn is_test(file: &Path) -> bool {
    file.iter().any(|part| {
        ["tests", "tests.rs", "schedules", "main.rs"].contains(&part.to_str().unwrap_or_default())
    })
}

fn is_of_crate(letter: char) -> bool {
    letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_'
}

fn is_named(item: &Item, name: &str) -> bool {
    name_of(item).is_some_and(|of| of == name)
}

/// Whether an item is not in the documentation.
fn is_hidden(attributes: &[Attribute]) -> bool {
    has(attributes, "doc", "hidden")
}

fn is_of_tests(attributes: &[Attribute]) -> bool {
    has(attributes, "cfg", "test")
}

fn has(attributes: &[Attribute], name: &str, value: &str) -> bool {
    let lists = attributes.iter().filter_map(|attribute| attribute.meta.require_list().ok());
    let mut named = lists.filter(|list| list.path.is_ident(name));
    named.any(|list| list.tokens.to_string() == value)
}

fn is_shown(visibility: &Visibility, attributes: &[Attribute]) -> bool {
    matches!(visibility, Visibility::Public(_)) && !is_hidden(attributes)
}

fn is_public(item: &Item) -> bool {
    let visibility = match item {
        Item::Const(item) => &item.vis,
        Item::Enum(item) => &item.vis,
        Item::Fn(item) => &item.vis,
        Item::Mod(item) => &item.vis,
        Item::Struct(item) => &item.vis,
        Item::Trait(item) => &item.vis,
        Item::Type(item) => &item.vis,
        _ => return false,
    };
    is_shown(visibility, attributes(item))
}

fn name_of(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Mod(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
