//! Draws from a seed, so that a corpus is the same on every machine and in every run.

/// A small generator (splitmix64).
pub(crate) struct Draw(u64);

impl Draw {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 1).unwrap_or_default() % bound
    }

    /// A number in `least..=most`.
    pub(crate) fn between(&mut self, least: usize, most: usize) -> usize {
        least + self.below(most - least + 1)
    }

    pub(crate) fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }

    /// `length` characters of an alphabet.
    pub(crate) fn chars(&mut self, alphabet: &str, length: usize) -> String {
        let alphabet: Vec<char> = alphabet.chars().collect();
        (0..length).map(|_| *self.pick(&alphabet)).collect()
    }

    pub(crate) fn digits(&mut self, length: usize) -> String {
        self.chars("0123456789", length)
    }

    pub(crate) fn hex(&mut self, length: usize) -> String {
        self.chars("0123456789abcdef", length)
    }

    /// Words of a made-up text, with the punctuation of prose.
    pub(crate) fn prose(&mut self, words: usize) -> String {
        const WORDS: &str = "the a of to and in river stone light old small green before after when because they we it \
            walked carried found lost seemed again never often quiet morning letter table window road summer thought \
            between under over almost rather story people water paper garden answer question number system engine \
            measure simple careful honest narrow winter evening copper bridge harbour market travel remember explain";
        let list: Vec<&str> = WORDS.split_whitespace().collect();
        let mut text = String::new();
        for index in 0..words {
            let word = *self.pick(&list);
            match index {
                0 => {}
                _ if self.below(11) == 0 => text.push_str(". "),
                _ if self.below(9) == 0 => text.push_str(", "),
                _ => text.push(' '),
            }
            text.push_str(word);
        }
        text.push('.');
        text
    }
}
