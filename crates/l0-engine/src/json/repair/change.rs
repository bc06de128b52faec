//! What a repair reports: which fix, and where. Never the text.

/// One edit that turned the text into JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// What was put right.
    pub fix: Fix,
    /// Byte offset in the input of what was wrong, or of where something was missing.
    pub at: usize,
}

macro_rules! fixes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// The kinds of edit, each with a fixed name that logs and journals may hold.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Fix {
            $($(#[$doc])* $variant,)+
        }

        impl Fix {
            /// Every kind there is, so that tables and bindings can enumerate them.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The fixed name: lower case with underscores.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

fixes! {
    /// A `//`, `#` or `/* */` comment was removed.
    Comment = "comment",
    /// A raw control character inside a string was escaped.
    ControlCharacter = "control_character",
    /// A key that the end of the text cut was dropped.
    CutKey = "cut_key",
    /// `true`, `false` or `null` that the end of the text cut was completed.
    CutLiteral = "cut_literal",
    /// The text ends in or right after this number, which may have had more digits.
    CutNumber = "cut_number",
    /// A string that the end of the text cut was closed.
    CutString = "cut_string",
    /// `""…""` or `"""…"""` became `"…"`.
    DoubledQuote = "doubled_quote",
    /// `...` standing for further items was removed.
    Ellipsis = "ellipsis",
    /// A backslash sequence that JSON does not have was rewritten.
    Escape = "escape",
    /// The document was escaped as if inside a string; one level was taken off.
    EscapedQuotes = "escaped_quotes",
    /// A closer that closes nothing was removed.
    ExtraCloser = "extra_closer",
    /// A colon that follows no key was removed.
    ExtraColon = "extra_colon",
    /// A trailing, leading or doubled comma was removed.
    ExtraComma = "extra_comma",
    /// A doubled opening brace was removed.
    ExtraOpener = "extra_opener",
    /// A quote that opens and closes nothing was removed.
    ExtraQuote = "extra_quote",
    /// A code fence around the document was removed.
    Fence = "fence",
    /// A full-width comma, colon or bracket became its ASCII twin.
    Fullwidth = "fullwidth",
    /// A quote inside a string was escaped.
    InnerQuote = "inner_quote",
    /// Strings joined by `+` became one.
    JoinedStrings = "joined_strings",
    /// A key that no value follows was dropped.
    KeyWithoutValue = "key_without_value",
    /// An array where an object wants a key was dropped.
    KeylessValue = "keyless_value",
    /// A literal of another language, or in another case, became `true`, `false` or `null`.
    Literal = "literal",
    /// Half of a surrogate pair became U+FFFD.
    LoneSurrogate = "lone_surrogate",
    /// A closer was added.
    MissingCloser = "missing_closer",
    /// A colon was added.
    MissingColon = "missing_colon",
    /// A comma was added.
    MissingComma = "missing_comma",
    /// The opening brace of the document was added.
    MissingOpener = "missing_opener",
    /// A quote was added at one end of a string.
    MissingQuote = "missing_quote",
    /// A number was rewritten in the form JSON has for it.
    Number = "number",
    /// A whole other document was left out, or several were made one array.
    OtherDocument = "other_document",
    /// Text around the document was removed.
    Prose = "prose",
    /// Quotes of another kind (`'`, `` ` ``) became `"`.
    SingleQuotes = "single_quotes",
    /// Typographic quotes became `"`.
    SmartQuotes = "smart_quotes",
    /// A space that is none in JSON became an ordinary one.
    Space = "space",
    /// Words between values were removed.
    StrayText = "stray_text",
    /// A key was given its quotes.
    UnquotedKey = "unquoted_key",
    /// A string was given its quotes.
    UnquotedValue = "unquoted_value",
    /// A bracket of the wrong kind was replaced.
    WrongBracket = "wrong_bracket",
    /// `=` or `=>` became a colon.
    WrongColon = "wrong_colon",
    /// A semicolon became a comma.
    WrongComma = "wrong_comma",
}
