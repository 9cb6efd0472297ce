//! Ten thousand values as ordinary traffic has them, always the same: URLs, ids, times, numbers, headers.

/// A small generator of numbers that is the same on every machine (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 11) % end
    }

    fn one<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[usize::try_from(self.below(words.len() as u64)).unwrap()]
    }

    fn of(&mut self, alphabet: &str, length: usize) -> String {
        let letters: Vec<char> = alphabet.chars().collect();
        (0..length).map(|_| letters[usize::try_from(self.below(letters.len() as u64)).unwrap()]).collect()
    }

    fn hex(&mut self, length: usize) -> String {
        self.of("0123456789abcdef", length)
    }

    fn uuid(&mut self) -> String {
        let variant = self.one(&["8", "9", "a", "b"]);
        format!("{}-{}-4{}-{variant}{}-{}", self.hex(8), self.hex(4), self.hex(3), self.hex(3), self.hex(12))
    }
}

const BASE62: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const WORDS: &[&str] =
    &["users", "orders", "items", "api", "v1", "v2", "search", "cart", "catalog", "static", "assets"];

/// The corpus.
pub(crate) fn ordinary() -> Vec<String> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    (0..10_000_u64).map(|index| one(&mut random, index % 25)).collect()
}

fn one(random: &mut Random, kind: u64) -> String {
    // Some day of 2023 to 2027.
    let seconds = 1_672_531_200 + random.below(157_766_400);
    let (month, day) = (1 + random.below(12), 1 + random.below(28));
    let (hour, minute, second) = (random.below(24), random.below(60), random.below(60));
    let fraction = random.below(1_000_000_000);
    match kind {
        0 => random.uuid(),
        1 => format!("00-{}-{}-01", random.hex(32), random.hex(16)),
        2 => seconds.to_string(),
        3 => format!("{seconds}{:03}", fraction % 1_000),
        4 => format!("{seconds}{:06}", fraction % 1_000_000),
        5 => format!("{seconds}{fraction:09}"),
        6 => format!("2026-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:09}Z"),
        7 => format!("2026{month:02}{day:02}{hour:02}{minute:02}{second:02}"),
        // Numbers that programs give: the date and a sequence.
        8 => format!("2026{month:02}{day:02}{:08}", random.below(100_000_000)),
        9 => format!("/{}/{}/{}", random.one(WORDS), random.below(1_000_000), random.one(WORDS)),
        10 => format!("/api/v1/{}/{}", random.one(WORDS), random.uuid()),
        11 => format!("page={}&size={}&sort=-created&from={seconds}", random.below(100), random.below(100)),
        12 => format!("q={}+{}&lang=zh-CN", random.one(WORDS), random.one(WORDS)),
        13 => {
            format!("https://shop.example:8443/{}/{}?ref={}", random.one(WORDS), random.hex(24), random.of(BASE62, 11))
        }
        // Ids that grow with time: 64 bits, of late beginning with 1 and 19 digits long.
        14 => (1_700_000_000_000_000_000 + random.below(200_000_000_000_000_000)).to_string(),
        15 => random.of("0123456789ABCDEFGHJKMNPQRSTVWXYZ", 26),
        16 => random.of(BASE62, 21),
        17 => random.hex(40),
        18 => format!("0.{:016}", random.next() % 10_000_000_000_000_000),
        19 => format!(
            "{}.{},{}.{}",
            random.below(90),
            random.below(100_000_000),
            73 + random.below(62),
            random.below(100_000_000)
        ),
        20 => format!("W/\"{}-{}\"", random.hex(5), random.of(BASE62, 27)),
        21 => format!(
            "/static/app.{}.js?v={}.{}.{}",
            random.hex(8),
            random.below(20),
            random.below(40),
            random.below(500)
        ),
        22 => format!(
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/{}.0.{}.{} Safari/537.36",
            random.below(140),
            random.below(9_999),
            random.below(300)
        ),
        23 => format!("%E4%B8%AD%E6%96%87{}=%7B%22id%22%3A{}%7D", random.below(100), random.below(10_000_000)),
        _ => format!(
            "{}={}; _ga=GA1.2.{}.{seconds}",
            random.one(WORDS),
            random.of(BASE62, 32),
            random.below(2_147_483_647)
        ),
    }
}
