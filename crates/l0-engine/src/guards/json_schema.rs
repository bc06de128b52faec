//! The text is one JSON document that fits a schema.
//!
//! That it is JSON, and of which kind its root is, is known while it streams; the rest once it is whole.
//!
//! The validator here is small on purpose: a complete one brings a hundred crates and ten times the size of this
//! engine. It knows the keywords that models are given schemas with. A keyword that it does not know, and that could
//! make a document invalid, is refused by name rather than passed over.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use regex_automata::meta::Regex;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};

use super::hit::{At, Finding, Span};
use super::json::{Fence, JsonGuard, JsonSpec, Root};
use super::patterns::read_regex;
use super::spec::Problem;
use super::watch::{End, Watch};

/// How deep a schema may nest, how many references it may follow in a row, and how large it may be.
const DEPTH_MAX: usize = 64;
const SCHEMA_BYTES_MAX: usize = 1 << 20;

/// How large a document may be for it to be checked.
const DOCUMENT_BYTES_MAX: usize = 8 << 20;

/// How many steps one document may take: schemas that combine others can multiply work.
const STEPS_MAX: usize = 5_000_000;

/// Which schema, and how the document may be wrapped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JsonSchemaSpec {
    /// The schema, as JSON text, of the 2020-12 dialect or draft 7.
    pub schema: String,
    /// Whether the document may come in a code fence.
    #[serde(default)]
    pub fence: Fence,
}

impl JsonSchemaSpec {
    pub(super) fn compile(&self) -> Result<JsonSchemaGuard, Problem> {
        let schema = Schema::parse(&self.schema)?;
        let structure = JsonSpec { root: schema.root(), fence: self.fence };
        Ok(JsonSchemaGuard {
            structure: structure.compile(),
            schema: Arc::new(schema),
            text: String::new(),
            start: At::default(),
            failed: false,
        })
    }
}

/// A keyword that a document can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "each is the keyword of that name")]
pub enum Keyword {
    AdditionalProperties,
    AnyOf,
    Const,
    Contains,
    DependentRequired,
    Enum,
    ExclusiveMaximum,
    ExclusiveMinimum,
    False,
    MaxItems,
    MaxLength,
    MaxProperties,
    Maximum,
    MinItems,
    MinLength,
    MinProperties,
    Minimum,
    MultipleOf,
    Not,
    OneOf,
    Pattern,
    Required,
    TooLarge,
    Type,
    UniqueItems,
}

impl Keyword {
    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::AdditionalProperties => "schema: a property that is not allowed",
            Self::AnyOf => "schema: none of anyOf fits",
            Self::Const => "schema: not the constant",
            Self::Contains => "schema: contains no such item",
            Self::DependentRequired => "schema: a property needs another",
            Self::Enum => "schema: none of enum",
            Self::ExclusiveMaximum => "schema: not below exclusiveMaximum",
            Self::ExclusiveMinimum => "schema: not above exclusiveMinimum",
            Self::False => "schema: nothing is allowed here",
            Self::MaxItems => "schema: more than maxItems",
            Self::MaxLength => "schema: longer than maxLength",
            Self::MaxProperties => "schema: more than maxProperties",
            Self::Maximum => "schema: above maximum",
            Self::MinItems => "schema: fewer than minItems",
            Self::MinLength => "schema: shorter than minLength",
            Self::MinProperties => "schema: fewer than minProperties",
            Self::Minimum => "schema: below minimum",
            Self::MultipleOf => "schema: not multipleOf",
            Self::Not => "schema: what must not fit",
            Self::OneOf => "schema: not exactly one of oneOf fits",
            Self::Pattern => "schema: does not match pattern",
            Self::Required => "schema: a required property is missing",
            Self::TooLarge => "schema: too much to check",
            Self::Type => "schema: of another type",
            Self::UniqueItems => "schema: items that are not unique",
        }
    }
}

/// A place where a document does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Where in the document, as a JSON pointer.
    pub pointer: String,
    /// Which keyword it fails.
    pub keyword: Keyword,
}

/// A compiled schema.
#[derive(Debug)]
pub struct Schema {
    /// Every schema there is; they refer to each other by index. The first is the root.
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    /// Nothing fits: the schema `false`.
    never: bool,
    types: Option<Types>,
    constant: Option<Value>,
    choices: Option<Vec<Value>>,
    object: ObjectRules,
    array: ArrayRules,
    text: TextRules,
    number: NumberRules,
    /// Schemas that all have to fit: what is referred to, and `allOf`.
    all_of: Vec<usize>,
    any_of: Option<Vec<usize>>,
    one_of: Option<Vec<usize>>,
    not: Option<usize>,
    condition: Option<Condition>,
}

#[derive(Debug, Default)]
struct ObjectRules {
    properties: BTreeMap<String, usize>,
    pattern_properties: Vec<(Regex, usize)>,
    additional: Option<usize>,
    names: Option<usize>,
    required: Vec<String>,
    dependent: Vec<(String, Vec<String>)>,
    least: Option<usize>,
    most: Option<usize>,
}

#[derive(Debug, Default)]
struct ArrayRules {
    prefix: Vec<usize>,
    items: Option<usize>,
    contains: Option<usize>,
    unique: bool,
    least: Option<usize>,
    most: Option<usize>,
}

#[derive(Debug, Default)]
struct TextRules {
    least: Option<usize>,
    most: Option<usize>,
    pattern: Option<Regex>,
}

#[derive(Debug, Default)]
struct NumberRules {
    minimum: Option<Number>,
    maximum: Option<Number>,
    above: Option<Number>,
    below: Option<Number>,
    multiple_of: Option<Number>,
}

#[derive(Debug)]
struct Condition {
    test: Option<usize>,
    then: Option<usize>,
    otherwise: Option<usize>,
}

/// The types a value may have, one bit each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Types(u8);

impl Types {
    const NULL: u8 = 1;
    const BOOLEAN: u8 = 2;
    const OBJECT: u8 = 4;
    const ARRAY: u8 = 8;
    const STRING: u8 = 16;
    const NUMBER: u8 = 32;
    const INTEGER: u8 = 64;

    fn parse(value: &Value) -> Option<Self> {
        let names = match value {
            Value::String(name) => vec![name.as_str()],
            Value::Array(names) => names.iter().map(Value::as_str).collect::<Option<_>>()?,
            _ => return None,
        };
        let bits = names.into_iter().map(|name| match name {
            "null" => Some(Self::NULL),
            "boolean" => Some(Self::BOOLEAN),
            "object" => Some(Self::OBJECT),
            "array" => Some(Self::ARRAY),
            "string" => Some(Self::STRING),
            "number" => Some(Self::NUMBER),
            "integer" => Some(Self::INTEGER),
            _ => None,
        });
        let bits = bits.collect::<Option<Vec<u8>>>()?;
        Some(Self(bits.into_iter().fold(0, |all, bit| all | bit)))
    }

    fn admit(self, value: &Value) -> bool {
        let bits = match value {
            Value::Null => Self::NULL,
            Value::Bool(_) => Self::BOOLEAN,
            Value::Object(_) => Self::OBJECT,
            Value::Array(_) => Self::ARRAY,
            Value::String(_) => Self::STRING,
            Value::Number(number) if is_whole(number) => Self::NUMBER | Self::INTEGER,
            Value::Number(_) => Self::NUMBER,
        };
        self.0 & bits != 0
    }
}

impl Schema {
    /// Compiles a schema given as JSON text.
    ///
    /// # Errors
    ///
    /// Where it is no JSON or no schema, too large, or uses a keyword that cannot be checked here; the message names
    /// the place.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        if text.len() > SCHEMA_BYTES_MAX {
            let bytes = text.len();
            let message = format!("has {bytes} bytes; allowed are up to {SCHEMA_BYTES_MAX}");
            return Err(Problem::new("schema", message));
        }
        let root = serde_json::from_str(text)
            .map_err(|error| Problem::new("schema", format!("is not JSON: {error}")))?;
        let mut compiler = Compiler { root: &root, nodes: Vec::new(), known: BTreeMap::new() };
        compiler.node("", &root, 0)?;
        Ok(Self { nodes: compiler.nodes })
    }

    /// Where a document does not fit, at most `most` places; empty where it does.
    #[must_use]
    pub fn violations(&self, document: &Value, most: usize) -> Vec<Violation> {
        let mut steps = 0;
        let mut check = Check {
            schema: self,
            steps: &mut steps,
            depth: 0,
            pointer: String::new(),
            found: Vec::new(),
            most: most.max(1),
        };
        check.node(0, document);
        check.found
    }

    /// What the root has to be, as far as that is known before the document ends.
    fn root(&self) -> Root {
        let types = self.nodes.first().and_then(|node| node.types);
        match types {
            Some(Types(Types::OBJECT)) => Root::Object,
            Some(Types(Types::ARRAY)) => Root::Array,
            Some(Types(bits)) if bits == Types::OBJECT | Types::ARRAY => Root::Container,
            _ => Root::Any,
        }
    }
}

struct Compiler<'a> {
    root: &'a Value,
    nodes: Vec<Node>,
    /// The schemas compiled so far, by where they stand.
    known: BTreeMap<String, usize>,
}

impl Compiler<'_> {
    fn node(&mut self, pointer: &str, value: &Value, depth: usize) -> Result<usize, Problem> {
        if let Some(node) = self.known.get(pointer) {
            return Ok(*node);
        }
        if depth > DEPTH_MAX {
            return Err(wrong(pointer, format!("nests deeper than {DEPTH_MAX}")));
        }
        let number = self.nodes.len();
        self.known.insert(pointer.to_owned(), number);
        self.nodes.push(Node::default());
        let node = match value {
            Value::Bool(always) => Node { never: !always, ..Node::default() },
            Value::Object(keywords) => self.keywords(pointer, keywords, depth)?,
            _ => {
                return Err(wrong(pointer, "is no schema; a schema is an object, true or false"));
            }
        };
        if let Some(slot) = self.nodes.get_mut(number) {
            *slot = node;
        }
        Ok(number)
    }

    fn keywords(
        &mut self,
        pointer: &str,
        keywords: &Map<String, Value>,
        depth: usize,
    ) -> Result<Node, Problem> {
        let mut node = Node::default();
        for (keyword, value) in keywords {
            let here = format!("{pointer}/{}", escape(keyword));
            let mut at = Place { compiler: self, pointer: &here, value, depth };
            match keyword.as_str() {
                "$ref" => node.all_of.push(at.reference()?),
                "type" => node.types = Some(at.types()?),
                "const" => node.constant = Some(value.clone()),
                "enum" => node.choices = Some(at.list()?.to_vec()),
                "allOf" => node.all_of.extend(at.schemas()?),
                "anyOf" => node.any_of = Some(at.schemas()?),
                "oneOf" => node.one_of = Some(at.schemas()?),
                "not" => node.not = Some(at.schema()?),
                "if" => {
                    node.condition.get_or_insert(NO_CONDITION).test = Some(at.schema()?);
                }
                "then" => {
                    node.condition.get_or_insert(NO_CONDITION).then = Some(at.schema()?);
                }
                "else" => {
                    node.condition.get_or_insert(NO_CONDITION).otherwise = Some(at.schema()?);
                }
                "properties" => node.object.properties = at.named_schemas()?.into_iter().collect(),
                "patternProperties" => {
                    for (pattern, schema) in at.named_schemas()? {
                        let regex = compile_regex(&here, &pattern)?;
                        node.object.pattern_properties.push((regex, schema));
                    }
                }
                "additionalProperties" => node.object.additional = Some(at.schema()?),
                "propertyNames" => node.object.names = Some(at.schema()?),
                "required" => node.object.required = at.strings()?,
                "dependentRequired" => node.object.dependent = at.dependent()?,
                "minProperties" => node.object.least = Some(at.count()?),
                "maxProperties" => node.object.most = Some(at.count()?),
                "prefixItems" => node.array.prefix = at.schemas()?,
                "items" if value.is_array() => node.array.prefix = at.schemas()?,
                "items" => node.array.items = Some(at.schema()?),
                // Draft 7 calls it so where `items` is a list; elsewhere it means nothing.
                "additionalItems" if keywords.get("items").is_some_and(Value::is_array) => {
                    node.array.items = Some(at.schema()?);
                }
                "contains" => node.array.contains = Some(at.schema()?),
                "uniqueItems" => node.array.unique = at.flag()?,
                "minItems" => node.array.least = Some(at.count()?),
                "maxItems" => node.array.most = Some(at.count()?),
                "minLength" => node.text.least = Some(at.count()?),
                "maxLength" => node.text.most = Some(at.count()?),
                "pattern" => node.text.pattern = Some(compile_regex(&here, at.string()?)?),
                "minimum" => node.number.minimum = Some(at.number()?),
                "maximum" => node.number.maximum = Some(at.number()?),
                "exclusiveMinimum" => node.number.above = Some(at.number()?),
                "exclusiveMaximum" => node.number.below = Some(at.number()?),
                "multipleOf" => node.number.multiple_of = Some(at.divisor()?),
                keyword if UNSUPPORTED.contains(&keyword) => {
                    return Err(wrong(
                        &here,
                        "is a keyword that cannot be checked here; leave it out, or check it in a guard of your own",
                    ));
                }
                // What is left describes and does not judge.
                _ => {}
            }
        }
        Ok(node)
    }
}

/// Keywords that could make a document invalid and are not known here.
const UNSUPPORTED: [&str; 9] = [
    "$dynamicRef",
    "$recursiveRef",
    "dependencies",
    "dependentSchemas",
    "divisibleBy",
    "maxContains",
    "minContains",
    "unevaluatedItems",
    "unevaluatedProperties",
];

const NO_CONDITION: Condition = Condition { test: None, then: None, otherwise: None };

/// The value of a keyword, and where it stands.
struct Place<'a, 'b> {
    compiler: &'a mut Compiler<'b>,
    pointer: &'a str,
    value: &'a Value,
    depth: usize,
}

impl<'a> Place<'a, '_> {
    fn schema(&mut self) -> Result<usize, Problem> {
        self.compiler.node(self.pointer, self.value, self.depth + 1)
    }

    fn schemas(&mut self) -> Result<Vec<usize>, Problem> {
        let schemas = (0..).zip(self.list()?);
        let nodes = schemas.map(|(index, schema): (usize, _)| {
            let pointer = format!("{}/{index}", self.pointer);
            self.compiler.node(&pointer, schema, self.depth + 1)
        });
        nodes.collect()
    }

    fn named_schemas(&mut self) -> Result<Vec<(String, usize)>, Problem> {
        let schemas = self.value.as_object();
        let schemas = schemas.ok_or_else(|| wrong(self.pointer, "must be an object"))?;
        let nodes = schemas.iter().map(|(name, schema)| {
            let pointer = format!("{}/{}", self.pointer, escape(name));
            let node = self.compiler.node(&pointer, schema, self.depth + 1)?;
            Ok((name.clone(), node))
        });
        nodes.collect()
    }

    fn reference(&mut self) -> Result<usize, Problem> {
        let target = self.string()?;
        let pointer = target.strip_prefix('#');
        let pointer = pointer.filter(|pointer| pointer.is_empty() || pointer.starts_with('/'));
        let root = self.compiler.root;
        let found = pointer.and_then(|pointer| Some((pointer, root.pointer(pointer)?)));
        let (pointer, schema) = found.ok_or_else(|| {
            let message = "refers to nothing in this schema; allowed are pointers such as #/$defs/name";
            wrong(self.pointer, message)
        })?;
        self.compiler.node(pointer, schema, self.depth + 1)
    }

    fn types(&self) -> Result<Types, Problem> {
        Types::parse(self.value).ok_or_else(|| {
            let message = "must be null, boolean, object, array, string, number, integer or a list of these";
            wrong(self.pointer, message)
        })
    }

    fn list(&self) -> Result<&'a [Value], Problem> {
        let list = self.value.as_array().filter(|list| !list.is_empty());
        let list = list.ok_or_else(|| wrong(self.pointer, "must be a list that is not empty"))?;
        Ok(list)
    }

    fn strings(&self) -> Result<Vec<String>, Problem> {
        strings(self.value).ok_or_else(|| wrong(self.pointer, "must be a list of strings"))
    }

    fn dependent(&self) -> Result<Vec<(String, Vec<String>)>, Problem> {
        let lists = self.value.as_object().map(|lists| {
            let lists = lists.iter();
            lists.map(|(name, list)| Some((name.clone(), strings(list)?)))
        });
        let lists = lists.and_then(Iterator::collect);
        lists.ok_or_else(|| wrong(self.pointer, "must be an object of lists of strings"))
    }

    fn string(&self) -> Result<&'a str, Problem> {
        let string = self.value.as_str();
        string.ok_or_else(|| wrong(self.pointer, "must be a string"))
    }

    fn flag(&self) -> Result<bool, Problem> {
        let flag = self.value.as_bool();
        flag.ok_or_else(|| wrong(self.pointer, "must be true or false"))
    }

    fn count(&self) -> Result<usize, Problem> {
        let count = self.value.as_u64().and_then(|count| usize::try_from(count).ok());
        count.ok_or_else(|| wrong(self.pointer, "must be a whole number that is not negative"))
    }

    fn number(&self) -> Result<Number, Problem> {
        match self.value {
            Value::Number(number) => Ok(number.clone()),
            _ => Err(wrong(self.pointer, "must be a number")),
        }
    }

    fn divisor(&self) -> Result<Number, Problem> {
        let number = self.number()?;
        if number.as_f64().is_some_and(|number| number > 0.0) {
            return Ok(number);
        }
        Err(wrong(self.pointer, "must be above zero"))
    }
}

fn strings(value: &Value) -> Option<Vec<String>> {
    let strings = value.as_array()?.iter();
    strings.map(|string| string.as_str().map(str::to_owned)).collect()
}

fn wrong(pointer: &str, message: impl Into<Cow<'static, str>>) -> Problem {
    Problem::new(format!("schema{pointer}"), message)
}

/// A name as a part of a JSON pointer.
fn escape(name: &str) -> Cow<'_, str> {
    if name.contains(['~', '/']) {
        return name.replace('~', "~0").replace('/', "~1").into();
    }
    name.into()
}

fn compile_regex(pointer: &str, pattern: &str) -> Result<Regex, Problem> {
    const REGEX_BYTES_MAX: usize = 1 << 20;
    let hir = read_regex(pattern, false).map_err(|message| wrong(pointer, message))?;
    let config = Regex::config().nfa_size_limit(Some(REGEX_BYTES_MAX));
    let regex = Regex::builder().configure(config).build_from_hir(&hir);
    regex.map_err(|_| wrong(pointer, "is too large an expression"))
}

/// One document being checked.
struct Check<'a> {
    schema: &'a Schema,
    steps: &'a mut usize,
    /// How many schemas deep the check is, wherever in the document.
    depth: usize,
    pointer: String,
    found: Vec<Violation>,
    most: usize,
}

impl Check<'_> {
    /// How many schemas deep a check may get: references can go in circles.
    const DEPTH_MAX: usize = 512;

    fn node(&mut self, number: usize, value: &Value) {
        if self.found.len() >= self.most {
            return;
        }
        *self.steps += 1;
        if *self.steps > STEPS_MAX || self.depth >= Self::DEPTH_MAX {
            return self.fail(Keyword::TooLarge);
        }
        let Some(node) = self.schema.nodes.get(number) else {
            return;
        };
        self.depth += 1;
        if node.never {
            self.fail(Keyword::False);
        } else {
            self.value(node, value);
            self.combine(node, value);
        }
        self.depth -= 1;
    }

    fn value(&mut self, node: &Node, value: &Value) {
        self.expect(node.types.is_none_or(|types| types.admit(value)), Keyword::Type);
        let constant = node.constant.as_ref();
        self.expect(constant.is_none_or(|constant| equal(constant, value)), Keyword::Const);
        let choices = node.choices.as_ref();
        let chosen = choices.is_none_or(|choices| choices.iter().any(|choice| equal(choice, value)));
        self.expect(chosen, Keyword::Enum);
        match value {
            Value::Object(object) => self.object(&node.object, object),
            Value::Array(items) => self.array(&node.array, items),
            Value::String(text) => self.text(&node.text, text),
            Value::Number(number) => self.number(&node.number, number),
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn combine(&mut self, node: &Node, value: &Value) {
        for schema in &node.all_of {
            self.node(*schema, value);
        }
        if let Some(schemas) = &node.any_of {
            let fits = schemas.iter().any(|schema| self.fits(*schema, value));
            self.expect(fits, Keyword::AnyOf);
        }
        if let Some(schemas) = &node.one_of {
            let fitting = schemas.iter().filter(|schema| self.fits(**schema, value));
            let once = fitting.take(2).count() == 1;
            self.expect(once, Keyword::OneOf);
        }
        if let Some(schema) = node.not {
            let fits = self.fits(schema, value);
            self.expect(!fits, Keyword::Not);
        }
        if let Some(condition) = &node.condition
            && let Some(test) = condition.test
        {
            let branch = if self.fits(test, value) { condition.then } else { condition.otherwise };
            if let Some(branch) = branch {
                self.node(branch, value);
            }
        }
    }

    fn object(&mut self, rules: &ObjectRules, object: &Map<String, Value>) {
        let count = object.len();
        self.expect(rules.least.is_none_or(|least| count >= least), Keyword::MinProperties);
        self.expect(rules.most.is_none_or(|most| count <= most), Keyword::MaxProperties);
        for name in &rules.required {
            self.expect(object.contains_key(name), Keyword::Required);
        }
        for (name, others) in &rules.dependent {
            let whole = others.iter().all(|other| object.contains_key(other));
            self.expect(whole || !object.contains_key(name), Keyword::DependentRequired);
        }
        for (name, value) in object {
            let before = self.pointer.len();
            self.pointer.push('/');
            self.pointer.push_str(&escape(name));
            if let Some(names) = rules.names {
                self.node(names, &Value::String(name.clone()));
            }
            let named = rules.properties.get(name);
            if let Some(schema) = named {
                self.node(*schema, value);
            }
            let mut matched = named.is_some();
            for (pattern, schema) in &rules.pattern_properties {
                if pattern.is_match(name) {
                    matched = true;
                    self.node(*schema, value);
                }
            }
            match rules.additional {
                Some(schema) if !matched && self.is_never(schema) => {
                    self.fail(Keyword::AdditionalProperties);
                }
                Some(schema) if !matched => self.node(schema, value),
                _ => {}
            }
            self.pointer.truncate(before);
        }
    }

    fn array(&mut self, rules: &ArrayRules, items: &[Value]) {
        let count = items.len();
        self.expect(rules.least.is_none_or(|least| count >= least), Keyword::MinItems);
        self.expect(rules.most.is_none_or(|most| count <= most), Keyword::MaxItems);
        self.expect(!rules.unique || are_unique(items), Keyword::UniqueItems);
        for (index, item) in items.iter().enumerate() {
            if let Some(schema) = rules.prefix.get(index).copied().or(rules.items) {
                let before = self.pointer.len();
                // Writing to a string cannot fail.
                let _ = write!(self.pointer, "/{index}");
                self.node(schema, item);
                self.pointer.truncate(before);
            }
        }
        if let Some(schema) = rules.contains {
            let contains = items.iter().any(|item| self.fits(schema, item));
            self.expect(contains, Keyword::Contains);
        }
    }

    fn text(&mut self, rules: &TextRules, text: &str) {
        if rules.least.is_some() || rules.most.is_some() {
            let chars = text.chars().count();
            self.expect(rules.least.is_none_or(|least| chars >= least), Keyword::MinLength);
            self.expect(rules.most.is_none_or(|most| chars <= most), Keyword::MaxLength);
        }
        let pattern = rules.pattern.as_ref();
        self.expect(pattern.is_none_or(|pattern| pattern.is_match(text)), Keyword::Pattern);
    }

    fn number(&mut self, rules: &NumberRules, number: &Number) {
        let is = |bound: &Option<Number>, orders: &[Ordering]| match bound {
            Some(bound) => compare(number, bound).is_some_and(|order| orders.contains(&order)),
            None => true,
        };
        self.expect(is(&rules.minimum, &[Ordering::Equal, Ordering::Greater]), Keyword::Minimum);
        self.expect(is(&rules.maximum, &[Ordering::Equal, Ordering::Less]), Keyword::Maximum);
        self.expect(is(&rules.above, &[Ordering::Greater]), Keyword::ExclusiveMinimum);
        self.expect(is(&rules.below, &[Ordering::Less]), Keyword::ExclusiveMaximum);
        let divisor = rules.multiple_of.as_ref();
        let divides = divisor.is_none_or(|divisor| is_multiple(number, divisor));
        self.expect(divides, Keyword::MultipleOf);
    }

    fn fits(&mut self, schema: usize, value: &Value) -> bool {
        let mut check = Check {
            schema: self.schema,
            steps: self.steps,
            depth: self.depth,
            pointer: String::new(),
            found: Vec::new(),
            most: 1,
        };
        check.node(schema, value);
        let too_large = |violation: &Violation| violation.keyword == Keyword::TooLarge;
        if check.found.iter().any(too_large) {
            self.fail(Keyword::TooLarge);
            return false;
        }
        check.found.is_empty()
    }

    fn is_never(&self, schema: usize) -> bool {
        self.schema.nodes.get(schema).is_some_and(|node| node.never)
    }

    fn expect(&mut self, fits: bool, keyword: Keyword) {
        if !fits {
            self.fail(keyword);
        }
    }

    fn fail(&mut self, keyword: Keyword) {
        if self.found.len() < self.most {
            self.found.push(Violation { pointer: self.pointer.clone(), keyword });
        }
    }
}

/// Whether two values are the same to a schema: 1 is 1.0.
fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => compare(left, right) == Some(Ordering::Equal),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| equal(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            let same =
                |(name, value): (&String, &Value)| right.get(name).is_some_and(|other| equal(value, other));
            left.len() == right.len() && left.iter().all(same)
        }
        _ => left == right,
    }
}

/// Whether no two values are equal; sorted by a text that equal values share, so that it takes no comparison of all
/// with all.
fn are_unique(items: &[Value]) -> bool {
    let mut texts: Vec<String> = items.iter().map(shared_text).collect();
    texts.sort_unstable();
    let pairs = texts.iter().zip(texts.iter().skip(1));
    pairs.into_iter().all(|(left, right)| left != right)
}

fn shared_text(value: &Value) -> String {
    match value {
        Value::Number(number) => match whole(number) {
            Some(whole) => whole.to_string(),
            None => number.to_string(),
        },
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(shared_text).collect();
            format!("[{}]", items.join(","))
        }
        Value::Object(object) => {
            let mut members: Vec<String> = object
                .iter()
                .map(|(name, value)| format!("{}:{}", Value::String(name.clone()), shared_text(value)))
                .collect();
            members.sort_unstable();
            format!("{{{}}}", members.join(","))
        }
        other => other.to_string(),
    }
}

fn compare(left: &Number, right: &Number) -> Option<Ordering> {
    match (whole(left), whole(right)) {
        (Some(left), Some(right)) => Some(left.cmp(&right)),
        _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
    }
}

fn is_multiple(number: &Number, divisor: &Number) -> bool {
    /// How far from a whole number a quotient may be: decimal fractions are not exact in binary.
    const SLACK: f64 = 1e-9;
    if let (Some(number), Some(divisor)) = (whole(number), whole(divisor)) {
        return divisor != 0 && number % divisor == 0;
    }
    let (Some(number), Some(divisor)) = (number.as_f64(), divisor.as_f64()) else {
        return false;
    };
    let quotient = number / divisor;
    (quotient - quotient.round()).abs() <= SLACK * quotient.abs().max(1.0)
}

fn is_whole(number: &Number) -> bool {
    whole(number).is_some() || number.as_f64().is_some_and(|number| number.fract() == 0.0)
}

/// A number as an integer, if it is one that is exact.
fn whole(number: &Number) -> Option<i128> {
    /// Beyond that, floating point skips integers.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if let Some(number) = number.as_i64() {
        return Some(number.into());
    }
    if let Some(number) = number.as_u64() {
        return Some(number.into());
    }
    let number = number.as_f64().filter(|number| number.fract() == 0.0 && number.abs() <= EXACT)?;
    #[expect(clippy::cast_possible_truncation, reason = "it is whole and small enough")]
    let number = number as i128;
    Some(number)
}

#[derive(Debug, Clone)]
pub(super) struct JsonSchemaGuard {
    structure: JsonGuard,
    schema: Arc<Schema>,
    /// The document so far.
    text: String,
    start: At,
    failed: bool,
}

impl Watch for JsonSchemaGuard {
    fn feed(&mut self, text: &str, at: At, found: &mut impl FnMut(Finding, Span)) {
        if self.failed {
            return;
        }
        let mut failed = false;
        self.structure.feed(text, at, &mut |finding, span| {
            failed = true;
            found(finding, span);
        });
        self.failed = failed;
        if self.text.is_empty() {
            self.start = at;
        }
        if self.text.len().saturating_add(text.len()) > DOCUMENT_BYTES_MAX {
            self.failed = true;
            found(Finding::Schema(Keyword::TooLarge), Span::empty(at));
        }
        if self.failed {
            self.text = String::new();
        } else {
            self.text.push_str(text);
        }
    }

    fn finish(&mut self, end: End, found: &mut impl FnMut(Finding, Span)) {
        if self.failed || (self.text.trim().is_empty() && end.other_content) {
            return;
        }
        let mut failed = false;
        self.structure.finish(end, &mut |finding, span| {
            failed = true;
            found(finding, span);
        });
        if failed {
            return;
        }
        let document = unfenced(&self.text);
        let span = Span { start: self.start, end: end.at };
        // What the structure lets pass and the parser does not is nested too deep, or a number out of range.
        let Ok(document) = serde_json::from_str::<Value>(document) else {
            return found(Finding::Schema(Keyword::TooLarge), span);
        };
        if let Some(violation) = self.schema.violations(&document, 1).first() {
            found(Finding::Schema(violation.keyword), span);
        }
    }
}

/// The document within a text whose structure was found to be right.
fn unfenced(text: &str) -> &str {
    let text = text.trim();
    let Some(fenced) = text.strip_prefix("```") else {
        return text;
    };
    let body = fenced.split_once('\n').map_or("", |(_, body)| body);
    body.trim_end().trim_end_matches('`')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::guards::testing::{findings, guard, refusal, same_however_split};
    use crate::guards::{Check, GuardSet, GuardSpec};

    use super::*;

    fn schema(schema: &str) -> GuardSet {
        guard(check(schema))
    }

    fn check(schema: &str) -> Check {
        Check::JsonSchema(JsonSchemaSpec { schema: schema.to_owned(), fence: Fence::Allow })
    }

    /// The first keyword that a document fails.
    fn fails(schema: &str, document: &str) -> Option<Keyword> {
        let schema = Schema::parse(schema).unwrap_or_else(|problem| panic!("{problem}"));
        let document = serde_json::from_str(document).expect("a document of a test is JSON");
        schema.violations(&document, 1).first().map(|violation| violation.keyword)
    }

    /// A schema, a document that fits it, and one that does not, with the keyword that it fails.
    type Case = (&'static str, &'static str, Option<&'static str>, Option<Keyword>);

    const KEYWORDS: &[Case] = &[
        ("true", "1", None, None),
        (r#"{"properties": {"a": false}}"#, "{}", Some(r#"{"a": 1}"#), Some(Keyword::False)),
        (r#"{"type": "integer"}"#, "1.0", Some("1.5"), Some(Keyword::Type)),
        (r#"{"type": ["string", "null"]}"#, "null", Some("0"), Some(Keyword::Type)),
        (r#"{"const": {"a": 1}}"#, r#"{"a": 1.0}"#, Some(r#"{"a": 2}"#), Some(Keyword::Const)),
        (r#"{"enum": [1, "x"]}"#, "\"x\"", Some("\"y\""), Some(Keyword::Enum)),
        (r#"{"minimum": 2}"#, "2", Some("1.9"), Some(Keyword::Minimum)),
        (r#"{"maximum": 2}"#, "2", Some("3"), Some(Keyword::Maximum)),
        (r#"{"exclusiveMinimum": 2}"#, "2.1", Some("2"), Some(Keyword::ExclusiveMinimum)),
        (r#"{"exclusiveMaximum": 2}"#, "\"2\"", Some("2"), Some(Keyword::ExclusiveMaximum)),
        (r#"{"multipleOf": 0.1}"#, "0.3", Some("0.35"), Some(Keyword::MultipleOf)),
        (r#"{"minLength": 2}"#, "\"éé\"", Some("\"é\""), Some(Keyword::MinLength)),
        (r#"{"maxLength": 2}"#, "\"éé\"", Some("\"ééé\""), Some(Keyword::MaxLength)),
        (r#"{"pattern": "^a+$"}"#, "\"aa\"", Some("\"ab\""), Some(Keyword::Pattern)),
        (r#"{"minItems": 1}"#, "[0]", Some("[]"), Some(Keyword::MinItems)),
        (r#"{"maxItems": 1}"#, "{}", Some("[0, 0]"), Some(Keyword::MaxItems)),
        (r#"{"uniqueItems": true}"#, "[1, \"1\", [1]]", Some("[1, 2, 1.0]"), Some(Keyword::UniqueItems)),
        (r#"{"items": {"type": "null"}}"#, "[null]", Some("[null, 0]"), Some(Keyword::Type)),
        (r#"{"prefixItems": [true], "items": false}"#, "[1]", Some("[1, 2]"), Some(Keyword::False)),
        (r#"{"items": [true], "additionalItems": false}"#, "[1]", Some("[1, 2]"), Some(Keyword::False)),
        (r#"{"contains": {"const": 1}}"#, "[0, 1]", Some("[0]"), Some(Keyword::Contains)),
        (r#"{"minProperties": 1}"#, r#"{"a": 0}"#, Some("{}"), Some(Keyword::MinProperties)),
        (r#"{"maxProperties": 0}"#, "{}", Some(r#"{"a": 0}"#), Some(Keyword::MaxProperties)),
        (r#"{"required": ["a"]}"#, r#"{"a": null}"#, Some("{}"), Some(Keyword::Required)),
        (
            r#"{"dependentRequired": {"a": ["b"]}}"#,
            r#"{"b": 0}"#,
            Some(r#"{"a": 0}"#),
            Some(Keyword::DependentRequired),
        ),
        (
            r#"{"properties": {"a": {}}, "patternProperties": {"^x": {}}, "additionalProperties": false}"#,
            r#"{"a": 0, "x1": 0}"#,
            Some(r#"{"b": 0}"#),
            Some(Keyword::AdditionalProperties),
        ),
        (
            r#"{"propertyNames": {"maxLength": 1}}"#,
            r#"{"a": 0}"#,
            Some(r#"{"ab": 0}"#),
            Some(Keyword::MaxLength),
        ),
        (r#"{"anyOf": [{"const": 1}, {"const": 2}]}"#, "2", Some("3"), Some(Keyword::AnyOf)),
        (r#"{"oneOf": [{"minimum": 1}, {"minimum": 5}]}"#, "2", Some("6"), Some(Keyword::OneOf)),
        (r#"{"allOf": [{"minimum": 1}, {"maximum": 5}]}"#, "2", Some("6"), Some(Keyword::Maximum)),
        (r#"{"not": {"const": 1}}"#, "2", Some("1"), Some(Keyword::Not)),
        (
            r#"{"if": {"minimum": 5}, "then": {"multipleOf": 5}, "else": {"maximum": 3}}"#,
            "10",
            Some("4"),
            Some(Keyword::Maximum),
        ),
        (
            r##"{"$ref": "#/$defs/list", "$defs": {"list": {"anyOf": [{"type": "null"},
                    {"properties": {"next": {"$ref": "#/$defs/list"}}, "required": ["next"]}]}}}"##,
            r#"{"next": {"next": null}}"#,
            Some(r#"{"next": {"next": {}}}"#),
            Some(Keyword::AnyOf),
        ),
        (r#"{"title": "t", "format": "date", "x-own": 1}"#, "\"no date\"", None, None),
    ];

    #[test]
    fn each_keyword_lets_pass_what_fits_and_names_itself_otherwise() {
        for &(schema, fits, fails_by, keyword) in KEYWORDS {
            assert_eq!(fails(schema, fits), None, "{schema} {fits}");
            if let Some(document) = fails_by {
                assert_eq!(fails(schema, document), keyword, "{schema} {document}");
            }
        }
    }

    #[test]
    fn a_violation_says_where() {
        let schema = r#"{"properties": {"a/b": {"items": {"type": "string"}}}}"#;
        let schema = Schema::parse(schema).unwrap_or_else(|problem| panic!("{problem}"));
        let document = serde_json::json!({"a/b": ["x", 1, 2]});
        let pointers: Vec<_> =
            schema.violations(&document, 10).into_iter().map(|violation| violation.pointer).collect();
        assert_eq!(pointers, ["/a~1b/1", "/a~1b/2"]);
    }

    #[test]
    fn a_schema_that_cannot_be_checked_is_refused_by_name() {
        for (schema, part) in [
            ("{", "`schema` is not JSON"),
            ("[]", "`schema` is no schema"),
            (r#"{"type": "strin"}"#, "`schema/type` must be null, boolean"),
            (
                r#"{"properties": {"a": {"pattern": "(?=x)"}}}"#,
                "`schema/properties/a/pattern` uses look-around",
            ),
            (
                r#"{"unevaluatedProperties": false}"#,
                "`schema/unevaluatedProperties` is a keyword that cannot",
            ),
            (r##"{"$ref": "#/$defs/none"}"##, "`schema/$ref` refers to nothing"),
            (r#"{"$ref": "https://example.com/s"}"#, "`schema/$ref` refers to nothing"),
            (r#"{"minLength": -1}"#, "`schema/minLength` must be a whole number"),
            (r#"{"multipleOf": 0}"#, "`schema/multipleOf` must be above zero"),
            (r#"{"anyOf": []}"#, "`schema/anyOf` must be a list that is not empty"),
        ] {
            let refusal = refusal(GuardSpec::new(check(schema)));
            assert!(refusal.contains(part), "{refusal}");
        }
    }

    #[test]
    fn references_in_circles_and_documents_without_bounds_end() {
        assert_eq!(fails(r##"{"$ref": "#"}"##, "1"), Some(Keyword::TooLarge));
        let circle = r##"{"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}"##;
        assert_eq!(fails(circle, "1"), Some(Keyword::TooLarge));
        let deep = format!("{}{}", "[".repeat(400), "]".repeat(400));
        let set = schema("true");
        assert_eq!(findings(&set, &deep), [Finding::Schema(Keyword::TooLarge)]);
    }

    #[test]
    fn structure_is_judged_while_it_streams_and_the_rest_at_the_end() {
        let set = schema(r#"{"type": "object", "required": ["a"]}"#);
        let mut state = set.start();
        assert_eq!(state.feed(&set, "```json\n[").hits[0].finding, Finding::JsonRoot);
        assert_eq!(findings(&set, "```json\n{\"a\": 1}\n```"), []);
        assert_eq!(findings(&set, "{\"b\": 1}"), [Finding::Schema(Keyword::Required)]);
        assert_eq!(findings(&set, "{\"a\": 1"), [Finding::JsonUnfinished]);
        assert_eq!(findings(&set, "{\"a\" 1}"), [Finding::JsonInvalid]);
    }

    #[test]
    fn an_answer_that_calls_a_tool_needs_no_document() {
        let set = schema("true");
        let mut state = set.start();
        state.other_content();
        assert!(state.finish(&set).is_clear());
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_hits(
            text in "(```json\n)?[ \\[\\]{}\",:a1]{0,16}(\n```)?",
            cuts in prop::collection::vec(0usize..30, 0..6),
        ) {
            let set = schema(r#"{"type": "object", "maxProperties": 1}"#);
            same_however_split(&set, &text, &cuts);
        }
    }
}
