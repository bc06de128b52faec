//! The search for where, in what a model writes, the document begins.

/// The most openers in a row that are looked through before the search gives up on them.
const OPENERS_MAX: usize = 16;

/// Passes over fences, thoughts and politeness, a byte at a time.
#[derive(Debug, Clone)]
pub(super) struct Seek {
    /// Brackets with nothing but spaces between them, of which it is not known yet whether they open the document.
    openers: Vec<u8>,
    /// Nothing but spaces and the openers since the beginning of the text or of a fence.
    at_start: bool,
    in_fence: bool,
    /// Backticks in a row.
    ticks: usize,
    /// The tag of a fence that just opened.
    tag: Option<String>,
    in_thought: bool,
    /// How much of a tag around thoughts was met.
    thought_tag: usize,
}

/// What a byte means to the search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sought {
    /// Still looking.
    Not,
    /// The document began with the openers that were held, and this byte is the next of it.
    Begun,
}

impl Seek {
    pub(super) fn new() -> Self {
        Self {
            openers: Vec::new(),
            at_start: true,
            in_fence: false,
            ticks: 0,
            tag: None,
            in_thought: false,
            thought_tag: 0,
        }
    }

    pub(super) fn take_openers(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.openers)
    }

    pub(super) fn step(&mut self, byte: u8) -> Sought {
        if self.thought(byte) || self.fence(byte) {
            return Sought::Not;
        }
        if let Some(&innermost) = self.openers.last() {
            return self.step_behind_opener(innermost, byte);
        }
        self.step_words(byte);
        Sought::Not
    }

    fn step_words(&mut self, byte: u8) {
        match byte {
            b'{' | b'[' => self.openers.push(byte),
            // The last is the byte order mark's.
            b' ' | b'\t' | b'\r' | b'\n' | 0xef | 0xbb | 0xbf => {}
            _ => self.at_start = false,
        }
    }

    fn step_behind_opener(&mut self, innermost: u8, byte: u8) -> Sought {
        // In the middle of a sentence brackets hold references and placeholders; where nothing was said before,
        // they are the document.
        let plausible = match (innermost, byte) {
            (_, b' ' | b'\t' | b'\r' | b'\n') => return Sought::Not,
            (b'[', b'{' | b'[') if self.openers.len() < OPENERS_MAX => {
                self.openers.push(byte);
                return Sought::Not;
            }
            (_, b'"') => true,
            (b'{', b'}')
            | (b'[', b'{' | b'[' | b']' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n' | b'T' | b'F' | b'N') => {
                self.at_start
            }
            _ => false,
        };
        if plausible {
            return Sought::Begun;
        }
        self.openers.clear();
        self.at_start = false;
        self.step_words(byte);
        Sought::Not
    }

    /// Passes over what stands between the tags that some models put around their thoughts.
    fn thought(&mut self, byte: u8) -> bool {
        let tag: &[u8] = if self.in_thought { b"</think" } else { b"<think" };
        self.thought_tag = match tag.get(self.thought_tag) {
            Some(&expected) if expected == byte => self.thought_tag + 1,
            _ => usize::from(byte == b'<'),
        };
        if self.thought_tag == tag.len() {
            self.in_thought = !self.in_thought;
            self.thought_tag = 0;
            self.openers.clear();
            self.at_start = false;
        }
        self.in_thought
    }

    /// Passes over the marks and the tag of a fence.
    fn fence(&mut self, byte: u8) -> bool {
        if let Some(tag) = &mut self.tag {
            match byte {
                b'`' if tag.is_empty() => return true,
                byte if byte.is_ascii_alphanumeric() && tag.len() < 16 => {
                    tag.push(char::from(byte.to_ascii_lowercase()));
                    return true;
                }
                _ => {
                    self.at_start =
                        tag.is_empty() || tag.starts_with("json") || tag == "ndjson" || tag == "js";
                    self.tag = None;
                }
            }
        }
        if byte != b'`' {
            self.ticks = 0;
            return false;
        }
        self.ticks += 1;
        if self.ticks == 3 {
            self.openers.clear();
            self.in_fence = !self.in_fence;
            self.at_start = false;
            self.tag = self.in_fence.then(String::new);
        }
        self.ticks >= 3
    }
}
