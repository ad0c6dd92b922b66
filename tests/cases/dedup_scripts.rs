//! Near-duplicates in scripts that put no spaces between words, and the survivor of duplicates when
//! files are renamed.
//!
//! `make bench-dedup-scripts` prints recall and precision by script.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::support::{Place, Random, check, query, run, tree};

/// Settings under which nothing but deduplication is computed.
const ONLY_DEDUP: &str = "[language]\nengine = \"none\"\n[signals]\nvalues = \"none\"\n";

/// A manifest over records of own id and text, in one file.
fn manifest(place: &Place, records: &[(String, String)], more: &str) -> PathBuf {
    let line = |(id, text): &(String, String)| serde_json::json!({ "id": id, "text": text });
    let lines: String = records
        .iter()
        .map(|record| format!("{}\n", line(record)))
        .collect();
    place.write("in/a.jsonl", lines);

    let head = "[run]\nname = \"scripts\"\n[[source]]\nname = \"s\"\npath = \"in\"\nid = \"id\"\n";
    place.write("scripts.toml", format!("{head}{ONLY_DEDUP}{more}"))
}

/// The own ids of each near-duplicate and of the document that is kept for it.
fn removals(dir: &Path) -> Vec<(String, String)> {
    let sql = "SELECT d.source_id, k.source_id FROM near_dedup_evidence e
        JOIN documents d USING (doc_id) JOIN documents k ON k.doc_id = e.kept_id ORDER BY ALL";
    query(dir, sql)
        .into_iter()
        .map(|row| {
            let (removed, kept) = row.split_once('|').unwrap();
            (removed.to_owned(), kept.to_owned())
        })
        .collect()
}

/// The number of pairs of which one document was removed for the other, by the part of the own id
/// before the first `/`. A pair is two documents that differ in their last character only, `a` or
/// `b`. Fails if a document was removed for one of another pair.
fn pairs_found(dir: &Path) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for (removed, kept) in removals(dir) {
        let pair = removed.trim_end_matches(['a', 'b']);
        assert_eq!(pair, kept.trim_end_matches(['a', 'b']), "unlike texts");
        let kind = pair.split('/').next().unwrap();
        *found.entry(kind.to_owned()).or_default() += 1;
    }
    found
}

/// Replaces `edits` letters of a text by other letters of `letters`.
fn edited(random: &mut Random, text: &str, letters: &[char], edits: usize) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    let mut places = Vec::new();
    while places.len() < edits {
        let at = random.below(chars.len() as u64) as usize;
        let new = letters[random.below(letters.len() as u64) as usize];
        if chars[at].is_alphabetic() && chars[at] != new && !places.contains(&at) {
            chars[at] = new;
            places.push(at);
        }
    }
    chars.into_iter().collect()
}

const HAN: &str = "的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动同工也能下过子说产种面而方后多定行学法所民得经";
const KANA: &str =
    "あいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほまみむめもやゆよらりるれろわをん";
const THAI: &str = "กขคงจชซญดตถทธนบปผพฟมยรลวสหอะาิีึุูเแโใไ";

#[test]
fn pairs_of_random_letters_are_found() {
    let place = Place::new();
    let mut random = Random::new(11);
    let mut records = Vec::new();

    for (kind, letters, marks) in [
        ("han", HAN, false),
        ("han_marks", HAN, true),
        ("kana_marks", KANA, true),
        ("thai", THAI, false),
    ] {
        let letters: Vec<char> = letters.chars().collect();
        for pair in 0..40 {
            let mut text = String::new();
            for _ in 0..400 {
                text.push(letters[random.below(letters.len() as u64) as usize]);
                if marks && random.below(12) == 0 {
                    text.push(if random.below(2) == 0 { '，' } else { '。' });
                }
            }
            let copy = edited(&mut random, &text, &['鑫', '淼'], 2);
            records.push((format!("{kind}/{pair}a"), text));
            records.push((format!("{kind}/{pair}b"), copy));
        }
    }

    let manifest = manifest(&place, &records, "[dedup.near]\nprefer = [\"bytes\"]\n");
    let dir = place.path("run");
    run(&manifest, &dir, &["--until", "near_dedup"]).exits(0);
    check(&dir, None).exits(0);
    assert_eq!(
        pairs_found(&dir),
        ["han", "han_marks", "kana_marks", "thai"]
            .map(|kind| (kind.to_owned(), 40))
            .into()
    );
}

#[test]
fn each_stretch_of_a_mixed_text_counts() {
    let place = Place::new();
    let mut random = Random::new(12);
    let han: Vec<char> = HAN.chars().collect();
    let mut letters = |n: usize| -> String {
        (0..n)
            .map(|_| han[random.below(han.len() as u64) as usize])
            .collect()
    };

    let english: Vec<String> = (0..60).map(|n| format!("word{n}")).collect();
    let english = english.join(" ");
    let (quoted, short, clauses) = (letters(300), letters(60), letters(120));
    let records = [
        // The English around two unlike quotations is the same.
        ("unlike/1a", format!("{english} 「{quoted}」.")),
        ("unlike/1b", format!("{english} 「{}」.", letters(300))),
        // One letter of the quotation differs.
        ("like/1a", format!("In a letter: {short} and no more.")),
        (
            "like/1b",
            format!(
                "In a letter: {} and no more.",
                short.replacen(&short[90..93], "鑫", 1)
            ),
        ),
        // A clause without punctuation, and with it.
        ("marks/1a", clauses.clone()),
        (
            "marks/1b",
            format!("{}，{}。", &clauses[..150], &clauses[150..]),
        ),
        // Fewer letters than a shingle has words.
        ("short/1a", "你好世界".to_owned()),
        ("short/1b", "你好世界！".to_owned()),
    ];
    let records = records.map(|(id, text)| (id.to_owned(), text));

    let manifest = manifest(&place, &records, "[dedup.near]\nprefer = [\"bytes\"]\n");
    let dir = place.path("run");
    run(&manifest, &dir, &["--until", "near_dedup"])
        .exits(0)
        .says(&["2 documents have fewer than 5 words and were compared with nothing"]);
    check(&dir, None).exits(0);
    assert_eq!(
        pairs_found(&dir),
        ["like", "marks"].map(|kind| (kind.to_owned(), 1)).into()
    );

    // Of the words, punctuation is no part. So the pair of equal letters is equal, short or not.
    let normalized = [
        "--until",
        "exact_dedup",
        "--set",
        "dedup.exact.text=normalized",
    ];
    run(&manifest, &dir, &normalized).exits(0);
    let equal =
        "SELECT split_part(source_id, '/', 1) FROM exact_dedup JOIN documents USING (doc_id)
        WHERE removed_by IS NOT NULL ORDER BY ALL";
    assert_eq!(query(&dir, equal), ["marks", "short"]);
}

/// A script with common words of a language, and the marks between its phrases.
struct Script {
    name: &'static str,
    words: &'static str,
    /// The characters between two words.
    space: &'static str,
    marks: [&'static str; 2],
}

#[rustfmt::skip]
const SCRIPTS: [Script; 11] = [
    Script { name: "latin", space: " ", marks: [", ", ". "], words: "house water people day month year town country language book school teacher student food rice fish fruit tree flower river sea mountain road train plane boat market shop money work time morning evening night sun moon star rain wind hot cold beautiful good big small new old eat drink sleep walk run speak read write listen look buy sell make love know think help" },
    Script { name: "cyrillic", space: " ", marks: [", ", ". "], words: "дом вода люди день месяц год город страна язык книга школа учитель ученик еда рис рыба плод дерево цветок река море гора дорога поезд самолёт лодка рынок магазин деньги работа время утро вечер ночь солнце луна звезда дождь ветер жаркий холодный красивый хороший большой маленький новый старый есть пить спать идти бежать говорить читать писать слушать смотреть купить продать делать любить знать думать помогать" },
    Script { name: "arabic", space: " ", marks: ["، ", ". "], words: "بيت ماء ناس يوم شهر سنة مدينة بلد لغة كتاب مدرسة معلم طالب طعام أرز سمك فاكهة شجرة زهرة نهر بحر جبل طريق قطار طائرة قارب سوق متجر مال عمل وقت صباح مساء ليل شمس قمر نجم مطر ريح حار بارد جميل جيد كبير صغير جديد قديم أكل شرب نام مشى ركض تكلم قرأ كتب سمع نظر اشترى باع صنع أحب عرف فكر ساعد" },
    Script { name: "devanagari", space: " ", marks: [", ", "। "], words: "घर पानी लोग दिन महीना साल शहर देश भाषा किताब विद्यालय शिक्षक छात्र खाना चावल मछली फल पेड़ फूल नदी समुद्र पहाड़ सड़क रेलगाड़ी जहाज नाव बाज़ार दुकान पैसा काम समय सुबह शाम रात सूरज चाँद तारा बारिश हवा गरम ठंडा सुंदर अच्छा बड़ा छोटा नया पुराना खाना पीना सोना चलना दौड़ना बोलना पढ़ना लिखना सुनना देखना खरीदना बेचना करना प्यार जानना सोचना मदद" },
    Script { name: "hangul", space: " ", marks: [", ", ". "], words: "집은 물을 사람이 하루 달에 해마다 도시에서 나라의 언어를 책을 학교에 선생님이 학생은 음식을 쌀과 생선을 과일이 나무가 꽃이 강을 바다로 산에서 길을 기차가 비행기를 배는 시장에 가게에서 돈을 일을 시간이 아침에 저녁에 밤에는 태양이 달빛이 별이 비가 바람이 뜨거운 차가운 아름다운 좋은 큰 작은 새로운 오래된 먹고 마시고 자고 걷고 달리고 말하고 읽고 쓰고 듣고 보고 사고 팔고 만들고 사랑하고 알고 생각하고 돕는다" },
    Script { name: "han", space: "", marks: ["，", "。"], words: "房子 水 人们 日子 月份 年 城市 国家 语言 书 学校 老师 学生 食物 米饭 鱼 水果 树木 花 河流 大海 山 道路 火车 飞机 船 市场 商店 钱 工作 时间 早上 晚上 夜里 太阳 月亮 星星 雨 风 热 冷 美丽 好 大 小 新 旧 吃 喝 睡觉 走路 跑步 说话 读书 写字 听 看 买 卖 做 爱 知道 思考 帮助" },
    Script { name: "kana", space: "", marks: ["、", "。"], words: "いえ みず ひとびと ひ つき とし まち くに ことば ほん がっこう せんせい がくせい たべもの ごはん さかな くだもの き はな かわ うみ やま みち でんしゃ ひこうき ふね いちば みせ おかね しごと じかん あさ ゆうがた よる たいよう ほし あめ かぜ あつい さむい うつくしい よい おおきい ちいさい あたらしい ふるい たべる のむ ねる あるく はしる はなす よむ かく きく みる かう うる つくる あいする しる かんがえる たすける コーヒー テレビ ノート バス ホテル" },
    Script { name: "thai", space: "", marks: [" ", " "], words: "บ้าน น้ำ คน วัน เดือน ปี เมือง ประเทศ ภาษา หนังสือ โรงเรียน ครู นักเรียน อาหาร ข้าว ปลา ผลไม้ ต้นไม้ ดอกไม้ แม่น้ำ ทะเล ภูเขา ถนน รถไฟ เครื่องบิน เรือ ตลาด ร้าน เงิน งาน เวลา เช้า เย็น กลางคืน พระอาทิตย์ พระจันทร์ ดาว ฝน ลม ร้อน หนาว สวย ดี ใหญ่ เล็ก ใหม่ เก่า กิน ดื่ม นอน เดิน วิ่ง พูด อ่าน เขียน ฟัง ดู ซื้อ ขาย ทำ รัก รู้ คิด ช่วย" },
    Script { name: "lao", space: "", marks: [" ", " "], words: "ເຮືອນ ນ້ຳ ຄົນ ມື້ ເດືອນ ປີ ເມືອງ ປະເທດ ພາສາ ປຶ້ມ ໂຮງຮຽນ ຄູ ນັກຮຽນ ອາຫານ ເຂົ້າ ປາ ໝາກໄມ້ ຕົ້ນໄມ້ ດອກໄມ້ ແມ່ນ້ຳ ທະເລ ພູເຂົາ ຖະໜົນ ລົດໄຟ ຍົນ ເຮືອ ຕະຫຼາດ ຮ້ານ ເງິນ ວຽກ ເວລາ ເຊົ້າ ແລງ ກາງຄືນ ຝົນ ລົມ ຮ້ອນ ໜາວ ງາມ ດີ ໃຫຍ່ ນ້ອຍ ໃໝ່ ເກົ່າ ກິນ ດື່ມ ນອນ ຍ່າງ ແລ່ນ ເວົ້າ ອ່ານ ຂຽນ ຟັງ ເບິ່ງ ຊື້ ຂາຍ ເຮັດ ຮັກ ຮູ້ ຄິດ ຊ່ວຍ" },
    Script { name: "khmer", space: "", marks: [" ", "។ "], words: "ផ្ទះ ទឹក មនុស្ស ថ្ងៃ ខែ ឆ្នាំ ទីក្រុង ប្រទេស ភាសា សៀវភៅ សាលារៀន គ្រូ សិស្ស អាហារ បាយ ត្រី ផ្លែឈើ ដើមឈើ ផ្កា ទន្លេ សមុទ្រ ភ្នំ ផ្លូវ រថភ្លើង យន្តហោះ ទូក ផ្សារ ហាង លុយ ការងារ ពេលវេលា ព្រឹក ល្ងាច យប់ ព្រះអាទិត្យ ព្រះចន្ទ ផ្កាយ ភ្លៀង ខ្យល់ ក្តៅ ត្រជាក់ ស្អាត ល្អ ធំ តូច ថ្មី ចាស់ ញ៉ាំ ផឹក គេង ដើរ រត់ និយាយ អាន សរសេរ ស្តាប់ មើល ទិញ លក់ ធ្វើ ស្រឡាញ់ ដឹង គិត ជួយ" },
    Script { name: "burmese", space: "", marks: ["၊", "။"], words: "အိမ် ရေ လူ နေ့ လ နှစ် မြို့ နိုင်ငံ ဘာသာ စာအုပ် ကျောင်း ဆရာ ကျောင်းသား အစားအစာ ထမင်း ငါး သစ်သီး သစ်ပင် ပန်း မြစ် ပင်လယ် တောင် လမ်း ရထား လေယာဉ် လှေ ဈေး ဆိုင် ငွေ အလုပ် အချိန် မနက် ညနေ ည ကြယ် မိုး လေ ပူ အေး လှ ကောင်း ကြီး သေး အသစ် ဟောင်း စား သောက် အိပ် လမ်းလျှောက် ပြေး ပြော ဖတ် ရေး နားထောင် ကြည့် ဝယ် ရောင်း လုပ် ချစ် သိ စဉ်းစား ကူညီ" },
];

/// A text of 400 characters.
fn text_of(script: &Script, random: &mut Random, with_marks: bool) -> String {
    let words: Vec<&str> = script.words.split(' ').collect();
    let mut text = String::new();
    while text.chars().count() < 400 {
        for _ in 0..6 + random.below(6) {
            text += words[random.below(words.len() as u64) as usize];
            text += script.space;
        }
        if with_marks {
            text.truncate(text.trim_end().len());
            text += script.marks[random.below(2) as usize];
        }
    }
    text.chars().take(400).collect()
}

#[test]
fn recall_and_precision_by_script() {
    let place = Place::new();
    let mut random = Random::new(5);
    let mut records = Vec::new();

    for script in &SCRIPTS {
        let letters: Vec<char> = script
            .words
            .split(' ')
            .flat_map(|word| word.chars().next())
            .collect();
        for (with_marks, kind) in [(false, "plain"), (true, "marked")] {
            let name = format!("{} {kind}", script.name);
            for pair in 0..40 {
                for edits in [1, 2] {
                    let text = text_of(script, &mut random, with_marks);
                    let copy = edited(&mut random, &text, &letters, edits);
                    records.push((format!("{name} {edits}/{pair}a"), text));
                    records.push((format!("{name} {edits}/{pair}b"), copy));
                }
                for unlike in ['c', 'd'] {
                    let text = text_of(script, &mut random, with_marks);
                    records.push((format!("{name} unlike/{pair}{unlike}"), text));
                }
            }
        }
    }

    let manifest = manifest(&place, &records, "[dedup.near]\nprefer = [\"bytes\"]\n");
    let dir = place.path("run");
    run(&manifest, &dir, &["--until", "near_dedup"]).exits(0);
    check(&dir, None).exits(0);

    // The count fails if a text was removed for a text of another pair, so it holds the precision.
    let found = pairs_found(&dir);
    println!("pairs of 40 found; 1 or 2 of 400 characters changed");
    for script in &SCRIPTS {
        let of = |kind: &str| found.get(&format!("{} {kind}", script.name)).copied();
        let row = ["plain 1", "plain 2", "marked 1", "marked 2"].map(|kind| of(kind).unwrap_or(0));
        println!("{:<12}{row:>4?}", script.name);

        // Two changed words cost ten of about 65 shingles, so the similarity of such pairs of
        // scripts with spaces is below 0.8.
        let least = match script.space {
            "" => [39; 4],
            _ => [36, 0, 36, 0],
        };
        assert!(
            row.iter().zip(least).all(|(found, least)| *found >= least),
            "{}: {row:?}",
            script.name
        );
        assert_eq!((of("plain unlike"), of("marked unlike")), (None, None));
    }
}

/// Pairs of records in two files: equal texts, and texts that differ in one word of equal length.
/// `ids` says if a record of the first file and one of the second have an own id.
fn two_files(place: &Place, names: [&str; 2], ids: [bool; 2]) -> PathBuf {
    for (file, (name, has_id)) in names.into_iter().zip(ids).enumerate() {
        let record = |pair: usize| {
            let words: Vec<String> = (0..80).map(|at| format!("w{pair}x{at}")).collect();
            let last = if pair.is_multiple_of(2) {
                "same"
            } else {
                ["this", "that"][file]
            };
            let text = format!("{} {last}", words.join(" "));
            let id = has_id.then(|| format!("{pair}-{file}"));
            serde_json::json!({ "id": id, "text": text }).to_string()
        };
        let lines: Vec<String> = (0..40).map(record).collect();
        place.write(&format!("in/{name}.jsonl"), lines.join("\n"));
    }

    let head = "[run]\nname = \"ties\"\n[[source]]\nname = \"s\"\npath = \"in\"\nid = \"id\"\n";
    let dedup = "[dedup.exact]\n[dedup.near]\n";
    place.write("ties.toml", format!("{head}{ONLY_DEDUP}{dedup}"))
}

/// The own ids, or the lack of one, of all documents that deduplication keeps, and how many
/// documents each of the two stages removed.
fn kept(names: [&str; 2], ids: [bool; 2], threads: &str) -> (Vec<String>, [String; 2]) {
    let place = Place::new();
    let manifest = two_files(&place, names, ids);
    let dir = place.path("run");
    let arguments = ["--until", "near_dedup", "--threads", threads];
    run(&manifest, &dir, &arguments).exits(0);
    check(&dir, None).exits(0);

    let kept = "SELECT d.source_id FROM documents d JOIN near_dedup n USING (doc_id)
        WHERE n.reached AND n.removed_by IS NULL ORDER BY ALL";
    let removed = ["exact_dedup", "near_dedup"]
        .map(|stage| query(&dir, &format!("SELECT count(removed_by) FROM {stage}")).concat());
    (query(&dir, kept), removed)
}

#[test]
fn a_renamed_file_changes_no_survivor() {
    let both = [true, true];
    let first = kept(["a", "b"], both, "1");
    assert_eq!(first.1, ["20", "20"]);
    // Chance alone decides between the two files, so each of them keeps some documents.
    for file in ["-0", "-1"] {
        assert!(first.0.iter().filter(|id| id.ends_with(file)).count() > 8);
    }

    for names in [["b", "a"], ["zz", "0"], ["a", "sub/b"]] {
        assert_eq!(kept(names, both, "4"), first, "{names:?}");
    }
}

#[test]
fn a_document_with_an_own_id_goes_before_one_without() {
    for names in [["a", "b"], ["b", "a"]] {
        let (ids, removed) = kept(names, [true, false], "2");
        assert_eq!(removed, ["20", "20"]);
        assert!(
            ids.len() == 40 && ids.iter().all(|id| id.ends_with("-0")),
            "{ids:?}"
        );
    }
}

#[test]
fn threads_decide_nothing_among_equals() {
    let place = Place::new();
    let manifest = two_files(&place, ["a", "b"], [true, true]);
    let trees = ["1", "3"].map(|threads| {
        let dir = place.path(threads);
        run(
            &manifest,
            &dir,
            &["--until", "near_dedup", "--threads", threads],
        )
        .exits(0);
        ["exact_dedup", "near_dedup"].map(|stage| tree(&dir.join(stage)))
    });
    assert!(trees[0] == trees[1]);
}
