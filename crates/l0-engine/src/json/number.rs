//! The grammar of a JSON number, a byte at a time.

/// Where in a number the text so far ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Number {
    /// After the minus sign.
    Minus,
    /// After a leading zero, which no digit may follow.
    Zero,
    /// Inside the digits before the point.
    Integer,
    /// After the point, a digit must come.
    Point,
    /// Inside the digits after the point.
    Fraction,
    /// After `e`, a sign or a digit must come.
    Exponent,
    /// After the sign of the exponent, a digit must come.
    ExponentSign,
    /// Inside the digits of the exponent.
    ExponentDigits,
}

impl Number {
    /// The number that begins with `byte`.
    pub(super) fn begin(byte: u8) -> Option<Self> {
        match byte {
            b'-' => Some(Self::Minus),
            b'0' => Some(Self::Zero),
            b'1'..=b'9' => Some(Self::Integer),
            _ => None,
        }
    }

    /// The number with `byte` added, or `None` if it is no part of it.
    pub(super) fn step(self, byte: u8) -> Option<Self> {
        match (self, byte) {
            (Self::Minus, b'0') => Some(Self::Zero),
            (Self::Minus, b'1'..=b'9') | (Self::Integer, b'0'..=b'9') => Some(Self::Integer),
            (Self::Zero | Self::Integer, b'.') => Some(Self::Point),
            (Self::Point | Self::Fraction, b'0'..=b'9') => Some(Self::Fraction),
            (Self::Zero | Self::Integer | Self::Fraction, b'e' | b'E') => Some(Self::Exponent),
            (Self::Exponent, b'+' | b'-') => Some(Self::ExponentSign),
            (Self::Exponent | Self::ExponentSign | Self::ExponentDigits, b'0'..=b'9') => {
                Some(Self::ExponentDigits)
            }
            _ => None,
        }
    }

    /// Whether the number may end here.
    pub(super) fn is_whole(self) -> bool {
        matches!(self, Self::Zero | Self::Integer | Self::Fraction | Self::ExponentDigits)
    }
}

/// Whether `text` is a number and nothing else.
pub(super) fn is_number(text: &str) -> bool {
    let mut bytes = text.bytes();
    let first = bytes.next().and_then(Number::begin);
    let last =
        bytes.try_fold(first, |number, byte| number.map(|number| number.step(byte)).filter(Option::is_some));
    last.flatten().is_some_and(Number::is_whole)
}
