//! Which script a letter belongs to, as far as it takes to notice that an answer goes on in another one.

/// A script, or several that are written together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Script {
    Latin,
    Greek,
    Cyrillic,
    Armenian,
    Hebrew,
    Arabic,
    Devanagari,
    Bengali,
    OtherIndic,
    Thai,
    OtherSoutheastAsian,
    Georgian,
    Ethiopic,
    Hangul,
    Kana,
    Han,
}

impl Script {
    pub(super) const COUNT: usize = 16;

    /// The script of a letter; `None` for what is none, and for letters that mathematics uses.
    #[inline]
    pub(super) fn of(ch: char) -> Option<Self> {
        if ch.is_ascii() {
            return ch.is_ascii_alphabetic().then_some(Self::Latin);
        }
        let script = match ch {
            '\u{AA}' | '\u{BA}' | '\u{C0}'..='\u{24F}' | '\u{1E00}'..='\u{1EFF}' => Self::Latin,
            '\u{370}'..='\u{3FF}' | '\u{1F00}'..='\u{1FFF}' => Self::Greek,
            '\u{400}'..='\u{52F}' | '\u{1C80}'..='\u{1C8F}' => Self::Cyrillic,
            '\u{531}'..='\u{58F}' => Self::Armenian,
            '\u{5D0}'..='\u{5F4}' => Self::Hebrew,
            '\u{620}'..='\u{6FF}'
            | '\u{750}'..='\u{77F}'
            | '\u{8A0}'..='\u{8FF}'
            | '\u{FB50}'..='\u{FDFF}'
            | '\u{FE70}'..='\u{FEFC}' => Self::Arabic,
            '\u{900}'..='\u{97F}' => Self::Devanagari,
            '\u{980}'..='\u{9FF}' => Self::Bengali,
            '\u{A00}'..='\u{DFF}' => Self::OtherIndic,
            '\u{E01}'..='\u{E4E}' => Self::Thai,
            '\u{E80}'..='\u{EFF}' | '\u{1000}'..='\u{109F}' | '\u{1780}'..='\u{17FF}' => {
                Self::OtherSoutheastAsian
            }
            '\u{10A0}'..='\u{10FF}' => Self::Georgian,
            '\u{1200}'..='\u{139F}' => Self::Ethiopic,
            '\u{1100}'..='\u{11FF}' | '\u{3130}'..='\u{318F}' | '\u{AC00}'..='\u{D7A3}' => Self::Hangul,
            '\u{3041}'..='\u{30FA}' | '\u{31F0}'..='\u{31FF}' => Self::Kana,
            '\u{3400}'..='\u{4DBF}'
            | '\u{4E00}'..='\u{9FFF}'
            | '\u{F900}'..='\u{FAFF}'
            | '\u{20000}'..='\u{3FFFF}' => Self::Han,
            _ => return None,
        };
        ch.is_alphabetic().then_some(script)
    }

    pub(super) const fn index(self) -> usize {
        self as usize
    }

    pub(super) const fn bit(self) -> u32 {
        1 << self as u32
    }

    /// Whether it puts no spaces between words, so that a letter says more.
    pub(super) const fn is_unspaced(self) -> bool {
        matches!(self, Self::Thai | Self::OtherSoutheastAsian | Self::Kana | Self::Han)
    }
}
