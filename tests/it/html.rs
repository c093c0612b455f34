//! The page of a run: `--report html=FILE`. With a browser, and what of it needs none.

use std::fs;

use crate::bed::{Deploy, Fleet, STAGING, sample_run};

/// The heading over the resources that are created.
const CREATED: &str = "<h5 class=\"k-create\">create ";

/// Issue, "Reports": one page that holds what a real run did, also where it failed.
#[test]
fn a_run_that_failed_has_its_reports_too() {
    let fleet = Fleet::local();
    fleet.root(
        "resource \"terraform_data\" \"broken\" {\n  count = var.text == \"broken\" ? 1 : 0\n  \
         provisioner \"local-exec\" {\n    command = \"echo 'it broke</script>' >&2; exit 3\"\n  }\n}\n",
    );
    let bad = Deploy::new("bad").account(STAGING).more("text = \"broken\"");
    fleet.deploy(&Deploy::new("good")).deploy(&bad);
    let (html, junit) = (fleet.dir("report.html"), fleet.dir("report.xml"));
    let reports = [format!("html={}", html.display()), format!("junit={}", junit.display())];
    let done = fleet.apply().args(["--report", &reports[0], "--report", &reports[1]]).summary().run().assert_code(1);
    let audit = done.entry(&bad.key())["audit_key"].as_str().unwrap().to_owned();
    let page = fs::read_to_string(&html).unwrap();
    for words in ["tfleet apply of 2 deployments", "it broke&lt;/script&gt;", "1 failed", &audit, "Terraform ", CREATED]
    {
        assert!(page.contains(words), "{words}");
    }
    let junit = fs::read_to_string(&junit).unwrap();
    for words in ["tests=\"2\"", "failures=\"1\"", "errors=\"0\"", "type=\"failed\"", "it broke&lt;/script&gt;"] {
        assert!(junit.contains(words), "{words}\n{junit}");
    }
}

/// What a page shows of plans is kept for it, but no plan with secrets in clear.
#[test]
fn plans_are_in_the_page_without_a_folder_for_artefacts() {
    let fleet = Fleet::local();
    fleet.deploy(&Deploy::new("a"));
    let html = fleet.dir("report.html");
    fleet.plan().args(["--report", &format!("html={}", html.display())]).run().assert_code(0);
    let page = fs::read_to_string(&html).unwrap();
    assert!(page.contains("terraform_data.bucket[&quot;a-data&quot;] will be created"), "the text of the plan");
    assert!(page.contains(CREATED), "its resources by what becomes of them");
    let left = crate::bed::files_below(&fleet.dir("cache"));
    assert!(left.iter().any(|path| path.ends_with("plan.txt")), "{left:?}");
    assert!(!left.iter().any(|path| path.ends_with("plan.tfplan")), "{left:?}");
}

#[test]
fn reports_that_cannot_be_written_stop_the_run_before_it_begins() {
    let fleet = Fleet::local();
    fleet.deploy(&Deploy::new("a"));
    fs::create_dir(fleet.dir("folder")).unwrap();
    let folder = fleet.dir("folder").display().to_string();
    for (reports, said) in [
        (vec!["html=none/report.html".to_owned()], "the html report none/report.html cannot be written there"),
        (vec![format!("junit={folder}")], "is a directory"),
        (vec!["html=x".to_owned(), "junit=./x".to_owned()], "would both be written to ./x"),
        (vec!["pdf=x".to_owned()], "there is no report `pdf`; write html=FILE or junit=FILE"),
        (vec!["report.html".to_owned()], "it names no file; write it as html=FILE or junit=FILE"),
    ] {
        let reports = reports.into_iter().flat_map(|report| ["--report".to_owned(), report]);
        let done = fleet.apply().args(reports).run().assert_code(3).assert_says(&[said]);
        done.assert_silent_on(&[".tfleet-"]);
    }
    assert!(fleet.store().states().is_empty());
}

/// Issue: "reports of several machines": plans where the summaries say, or below a folder.
#[test]
fn summaries_of_several_machines_become_one_report() {
    let fleet = Fleet::local();
    let deploys = ["a", "b"].map(Deploy::new);
    let mut summaries = Vec::new();
    for (at, deploy) in deploys.iter().enumerate() {
        fleet.deploy(deploy);
        let plan = fleet.plan().args(["--shard", &format!("{}/2", at + 1)]).arg("--out-dir").arg(fleet.dir("out"));
        summaries.push((plan, fleet.dir(&format!("{at}.json"))));
    }
    for (plan, file) in summaries.iter_mut().map(|(plan, file)| (std::mem::replace(plan, fleet.plain("plan")), file)) {
        fs::write(file, plan.summary().run().assert_code(0).summary_text()).unwrap();
    }
    let files: Vec<_> = summaries.into_iter().map(|(_, file)| file).collect();
    let merge = |html: &str| {
        let report = format!("html={}", fleet.dir(html).display());
        fleet.plain("report").arg("merge").args(&files).args(["--report", &report])
    };
    let shown = "<summary>Plan</summary>";
    merge("one.html").run().assert_code(0);
    assert!(fs::read_to_string(fleet.dir("one.html")).unwrap().contains(shown));

    fs::rename(fleet.dir("out"), fleet.dir("elsewhere")).unwrap();
    merge("two.html").run().assert_code(0);
    assert!(!fs::read_to_string(fleet.dir("two.html")).unwrap().contains(shown));
    let junit = format!("junit={}", fleet.dir("joined.xml").display());
    let third = merge("three.html").args(["--report", &junit]).arg("--out-dir").arg(fleet.dir("elsewhere"));
    third.run().assert_code(0);
    let page = fs::read_to_string(fleet.dir("three.html")).unwrap();
    assert!(page.contains(shown) && page.contains("tfleet plan of 2 deployments"));
    assert!(fs::read_to_string(fleet.dir("joined.xml")).unwrap().contains("tests=\"2\""));
    merge("none/x.html").run().assert_code(3).assert_says(&["the html report", "cannot be written there"]);
}

/// A page that a browser opens and a person scrolls.
#[test]
fn the_page_of_a_large_run_is_bounded() {
    let fleet = Fleet::local();
    let summary = sample_run(&fleet.dir(""), 500, 12);
    let html = fleet.dir("report.html");
    let merge = fleet.plain("report").arg("merge").arg(&summary);
    merge.args(["--report", &format!("html={}", html.display())]).run().assert_code(4);
    let page = fs::read_to_string(&html).unwrap();
    assert_eq!(page.matches("<article ").count(), 500);
    for words in ["1 text was cut short", " are shown. The whole: <code>"] {
        let around = page.find("cut short").map(|at| &page[at - 30..at + 60]);
        assert!(page.contains(words), "{words}: {around:?}");
    }
    assert!(page.len() < 8 * 1024 * 1024, "{}", page.len());
    assert!(!page.contains("setting_3999"), "the end of the big plan is in its file");
}

mod browser {
    use std::path::PathBuf;

    use super::*;
    use crate::bed::Browser;

    /// The page of a run over `count` deployments.
    fn page(fleet: &Fleet, count: usize) -> PathBuf {
        let summary = sample_run(&fleet.dir(""), count, 12);
        let html = fleet.dir("report.html");
        let merge = fleet.plain("report").arg("merge").arg(&summary);
        merge.args(["--report", &format!("html={}", html.display())]).run().assert_code(if count > 37 { 4 } else { 0 });
        html
    }

    const SHOWN: &str = "[...document.querySelectorAll('#deployments tbody tr')].filter(row => !row.hidden).length";
    const HASH: &str = "decodeURIComponent(location.hash)";

    #[track_caller]
    fn assert_quiet(browser: &Browser) {
        assert!(browser.complaints.is_empty(), "{:#?}", browser.complaints);
        assert!(browser.requests.is_empty(), "the page needs nothing else: {:#?}", browser.requests);
    }

    /// Issue: "Look at it in a headless browser": searched, filtered, sorted, by address too.
    #[test]
    fn five_hundred_deployments_are_searched_filtered_and_sorted() {
        let fleet = Fleet::local();
        let html = page(&fleet, 500);
        let mut browser = Browser::start();
        browser.open(&html, "");
        assert_eq!(browser.eval(SHOWN), 500);
        assert_eq!(browser.eval("document.querySelector('#details').checkVisibility()"), false);

        browser.press("/");
        assert_eq!(browser.eval("document.activeElement.id"), "q");
        browser.type_text("payments-prod KMS");
        browser.wait_until(&format!("{SHOWN} < 40 && {SHOWN} > 0"));
        let said = browser.eval("document.querySelector('#shown').value");
        assert!(said.as_str().unwrap().ends_with(" of 500 deployments"), "{said}");
        assert_eq!(browser.eval(HASH), "#q=payments-prod+KMS");
        browser.press("Escape");
        assert_eq!(browser.eval(SHOWN), 500);

        // What failed, by the text of its error, which only the details have.
        browser.type_text("LimitExceededException");
        browser.wait_until(&format!("{SHOWN} === 1"));
        browser.press("Escape");
        let choose = |name: &str, value: &str| {
            format!(
                "(() => {{ const field = document.querySelector('#filters').elements.{name}; field.value = '{value}'; \
                 field.dispatchEvent(new Event('input', {{bubbles: true}})); }})()"
            )
        };
        browser.eval(&choose("outcome", "failed"));
        assert_eq!(browser.eval(SHOWN), 4);
        browser.eval(&choose("environment", "production"));
        let few = browser.eval(SHOWN).as_u64().unwrap();
        assert!((1..4).contains(&few), "{few}");
        assert_eq!(browser.eval(HASH), "#outcome=failed&environment=production");

        // The address brings it back; a value that the page has not is passed over.
        browser.open(&html, "#outcome=failed&environment=production&sort=-duration&region=nowhere");
        assert_eq!(browser.eval(SHOWN), few);
        let sorted = "document.querySelector('th[data-key=duration]').ariaSort";
        assert_eq!(browser.eval(sorted), "descending");
        browser.eval("document.querySelector('#filters [type=reset]').click()");
        browser.wait_until(&format!("{SHOWN} === 500 && location.hash === ''"));

        let durations = "[...document.querySelectorAll('#deployments tbody tr')].map(row => +row.cells[6].dataset.v)";
        browser.eval("document.querySelector('th[data-key=duration] button').click()");
        let down: Vec<u64> = serde_json::from_value(browser.eval(durations)).unwrap();
        assert!(down.is_sorted_by(|a, b| a >= b) && browser.eval(sorted) == "descending");
        browser.eval("document.querySelector('th[data-key=duration] button').click()");
        let up: Vec<u64> = serde_json::from_value(browser.eval(durations)).unwrap();
        assert!(up.is_sorted() && browser.eval(sorted) == "ascending");
        assert_quiet(&browser);

        // Smooth: a keystroke's worth of filtering, the texts of all details read, is far below what a person notices.
        let took = browser.eval(
            "(() => { const q = document.querySelector('#q'); const began = performance.now(); q.value = 'archive'; \
             q.dispatchEvent(new Event('input', {bubbles: true})); return performance.now() - began; })()",
        );
        assert!(took.as_f64().unwrap() < 500.0, "{took} ms");
    }

    /// Issue: "with the keyboard".
    #[test]
    fn details_open_and_close_by_the_keyboard() {
        let fleet = Fleet::local();
        let html = page(&fleet, 120);
        let mut browser = Browser::start();
        browser.open(&html, "");
        browser.press("/");
        browser.press("ArrowDown");
        browser.press("ArrowDown");
        let second = "document.querySelectorAll('#deployments tbody tr')[1]";
        assert_eq!(browser.eval(&format!("{second}.contains(document.activeElement)")), true);
        browser.press("Enter");
        let open = "document.querySelector('dialog').open";
        browser.wait_until(open);
        assert_eq!(browser.eval("document.querySelector('dialog article').id"), "d2");
        assert_eq!(browser.eval(HASH), "#open=d2");
        let text = browser.eval("document.querySelector('dialog').innerText");
        for words in ["What failed", "What to do next", "Audit record", "Plan", "aws_kms_key.data", "retention_in_days"]
        {
            assert!(text.as_str().unwrap().contains(words), "{words}\n{text}");
        }
        browser.press("j");
        assert_eq!(browser.eval("document.querySelector('dialog article').id"), "d3");
        browser.press("Escape");
        // The page hears of it a moment after the dialog is shut.
        browser.wait_until(&format!("!{open} && {HASH} === ''"));
        assert_eq!(browser.eval(&format!("{second}.contains(document.activeElement)")), true, "back where one was");
        assert_eq!(browser.eval("document.querySelectorAll('#details article').length"), 120);

        // An address that somebody was sent.
        browser.open(&html, "#d5");
        browser.wait_until(open);
        assert_eq!(browser.eval("document.querySelector('dialog article').id"), "d5");
        assert_quiet(&browser);
    }

    /// Every text against what is behind it: 4.5 to 1, as WCAG 2 AA has it; 3 to 1 where it is large.
    const FAINT: &str = r"(() => {
      const channels = text => text.match(/[\d.]+/g).map(Number);
      const light = ([r, g, b]) => [r, g, b].map(c => c / 255).map(c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
        .reduce((sum, c, at) => sum + c * [.2126, .7152, .0722][at], 0);
      const behind = element => {
        for (let at = element; at; at = at.parentElement) {
          const colour = channels(getComputedStyle(at).backgroundColor);
          if (colour.length === 3 || colour[3] === 1) return colour;
        }
        return channels(getComputedStyle(document.body).backgroundColor);
      };
      const faint = new Set();
      for (const element of document.querySelectorAll('body *')) {
        if (![...element.childNodes].some(node => node.nodeType === 3 && node.data.trim())) continue;
        if (!element.checkVisibility() || element.closest('svg, script')) continue;
        const style = getComputedStyle(element);
        const [a, b] = [light(channels(style.color)), light(behind(element))].sort((x, y) => y - x);
        const ratio = (a + .05) / (b + .05);
        const large = parseFloat(style.fontSize) >= 24;
        if (ratio < (large ? 3 : 4.5)) faint.add(`${element.localName}.${element.className}: ${ratio.toFixed(2)}`);
      }
      return [...faint];
    })()";

    /// Issue: "in light and dark … on a narrow screen".
    #[test]
    fn it_is_read_in_light_and_dark_and_on_a_narrow_screen() {
        let fleet = Fleet::local();
        let html = page(&fleet, 150);
        let mut browser = Browser::start();
        let ground = "getComputedStyle(document.body).backgroundColor";
        let mut grounds = Vec::new();
        for theme in ["light", "dark"] {
            browser.look(theme, 1280, 900);
            browser.open(&html, "");
            assert_eq!(browser.eval(FAINT), serde_json::json!([]), "{theme}");
            browser.eval("document.querySelector('a[href=\"#d1\"]').click()");
            browser.wait_until("document.querySelector('dialog').open");
            assert_eq!(browser.eval(FAINT), serde_json::json!([]), "{theme}, details");
            browser.press("Escape");
            grounds.push(browser.eval(ground));
        }
        assert_ne!(grounds[0], grounds[1]);
        // Against the system, and kept: the page is opened again in the theme that was chosen.
        browser.eval("document.querySelector('#theme').click()");
        assert_eq!(
            (browser.eval(ground), browser.eval("document.querySelector('#theme').textContent")),
            (grounds[0].clone(), "Dark theme".into())
        );

        browser.look("dark", 390, 800);
        browser.open(&html, "");
        let wide = browser.eval("document.documentElement.scrollWidth");
        assert!(wide.as_u64().unwrap() <= 390, "nothing sticks out: {wide}");
        let card = "document.querySelector('#deployments tbody tr')";
        assert_eq!(browser.eval(&format!("getComputedStyle({card}).display")), "grid");
        assert_eq!(browser.eval(&format!("getComputedStyle({card}.cells[2], '::before').content")), "\"Account\"");
        browser.eval(&format!("{card}.cells[2].click()"));
        browser.wait_until("document.querySelector('dialog').open");
        let fits = "document.querySelector('dialog').scrollWidth <= document.querySelector('dialog').clientWidth";
        assert_eq!(browser.eval(fits), true);
        assert_quiet(&browser);
    }

    /// A CI server that shows artefacts forbids their scripts, as a rule.
    #[test]
    fn without_its_script_everything_is_there_to_read() {
        let fleet = Fleet::local();
        let html = page(&fleet, 40);
        let mut browser = Browser::start();
        browser.scripts(false);
        browser.open(&html, "");
        let visible = |selector: &str| format!("document.querySelector('{selector}').checkVisibility()");
        for (selector, seen) in
            [("#details", true), ("#d40 .facts", true), ("#filters", false), ("#theme", false), ("dialog", false)]
        {
            assert_eq!(browser.eval(&visible(selector)), seen, "{selector}");
        }
        assert_eq!(browser.eval("document.querySelectorAll('#deployments tbody tr a').length"), 40);
        assert_quiet(&browser);
    }

    /// The pictures in docs/images are made by this, where `TFLEET_TEST_PICTURES` names their folder.
    #[test]
    fn pictures_for_the_documents() {
        let Some(folder) = std::env::var_os("TFLEET_TEST_PICTURES").map(PathBuf::from) else { return };
        let fleet = Fleet::local();
        let html = page(&fleet, 150);
        let mut browser = Browser::start();
        for (name, theme, hash, size) in
            [("report-light", "light", "", (1280, 1000)), ("report-dark", "dark", "#open=d1", (1280, 1000))]
        {
            browser.look(theme, size.0, size.1);
            browser.open(&html, hash);
            let picture = browser.screenshot();
            fs::write(folder.join(format!("{name}.png")), aws_smithy_types::base64::decode(picture).unwrap()).unwrap();
        }
    }
}
