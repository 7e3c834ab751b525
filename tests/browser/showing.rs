//! What is held is on the page, and who waits, without anybody loading it again.

use std::time::Duration;

use pgmutex::server::Limits;

use crate::support::{Browser, Serving, mutex_id, owner};

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_of_another_client_appears_and_goes() {
    let serving = Serving::start().await;
    let page = Browser::at(&serving.url()).await;
    page.until("text('#empty') === 'Nothing is held, and nobody waits.'")
        .await;

    let id = mutex_id("42");
    let capture = serving.mutexes.capture(&id).owner(owner("Ada"));
    capture.status_data("req-7").await.unwrap();
    page.until("all('tr.hold').length === 1").await;
    let row = &page.texts("tr.hold").await[0];
    for shown in ["42", "orders · edit · “req-7”", "Ada", "session-of-Ada"] {
        assert!(row.contains(shown), "{shown} is missing: {row}");
    }
    assert_eq!(page.texts("#counts").await, ["1 held · 0 waiting"]);

    serving
        .mutexes
        .release(&id)
        .owner(owner("Ada"))
        .await
        .unwrap();
    page.until(
        "text('#empty') === 'Nothing is held, and nobody waits.' && all('tr.hold').length === 0",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_wait_stand_behind_the_hold_in_their_order() {
    let serving = Serving::start().await;
    let page = Browser::at(&serving.url()).await;
    let id = mutex_id("42");
    for other in ["41", "43"] {
        let other = mutex_id(other);
        serving
            .mutexes
            .capture(&other)
            .owner(owner("Bea"))
            .await
            .unwrap();
    }
    serving
        .mutexes
        .capture(&id)
        .owner(owner("Ada"))
        .await
        .unwrap();
    let mut waits = Vec::new();
    for (place, name) in [(1, "Carl"), (2, "Dora")] {
        let lock = serving.mutexes.lock(&id).owner(owner(name));
        waits.push(tokio::spawn(async move { lock.await.unwrap() }));
        page.until(&format!("all('tr.waiter').length === {place}"))
            .await;
    }

    let rows = page
        .value(
            "all('tbody tr').map((row) =>
                [row.querySelector('.id, .place').innerText, row.querySelector('td.who').firstElementChild.innerText].join(' '))",
        )
        .await;
    let expected = [
        "41 Bea",
        "42 Ada",
        "1. in line Carl",
        "2. in line Dora",
        "43 Bea",
    ];
    assert_eq!(rows, serde_json::json!(expected));

    serving
        .mutexes
        .release(&id)
        .owner(owner("Ada"))
        .await
        .unwrap();
    page.until("all('tr.waiter').length === 1 && text('tr.waiter').includes('Dora') && text('tr.waiter').includes('1.')")
        .await;
    for wait in waits {
        wait.await.unwrap().release().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_is_shown_as_a_tree() {
    let serving = Serving::start().await;
    let tree = serving.mutexes.tree("lab");
    let paths: [&[&str]; 4] = [
        &["rack1", "board12"],
        &["rack1", "board3"],
        &["rack1", "board3", "a/b"],
        &["rack2"],
    ];
    for path in paths {
        let path = tree.path(path).unwrap();
        path.capture().owner(owner("Ada")).await.unwrap();
    }
    let above = tree.path(["rack1"]).unwrap();
    let waits = tokio::spawn(async move { above.lock().owner(owner("Bea")).await });
    let page = Browser::at(&serving.url()).await;
    page.until("all('tr.waiter').length === 1").await;

    let rows = page
        .value(
            "all('section[data-section] tr:has(td)').map((row) =>
                [row.className, row.style.getPropertyValue('--depth'), row.querySelector('.id, .place').innerText].join(' '))",
        )
        .await;
    let expected = [
        "free 0 rack1",
        "waiter 0 1. in line",
        "hold 1 board3",
        "hold 2 a/b",
        "hold 1 board12",
        "hold 0 rack2",
    ];
    assert_eq!(rows, serde_json::json!(expected));
    assert_eq!(page.texts("#lists h2").await, ["Tree lab"]);
    // It waits for a holder who is shown elsewhere.
    assert!(page.texts("tr.waiter").await[0].contains("behind Ada"));
    let indented = page
        .value("all('tr.hold').slice(0, 2).map((row) => row.querySelector('.id').getBoundingClientRect().left)")
        .await;
    assert!(indented[0].as_f64() < indented[1].as_f64(), "{indented}");
    waits.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_filter_leaves_what_fits() {
    let serving = Serving::start().await;
    for (id, name) in [("41", "Ada"), ("42", "Bea"), ("43", "Carl")] {
        let id = mutex_id(id);
        serving
            .mutexes
            .capture(&id)
            .owner(owner(name))
            .await
            .unwrap();
    }
    let path = serving
        .mutexes
        .tree("lab")
        .path(["rack1", "board3"])
        .unwrap();
    path.capture().owner(owner("Bea")).await.unwrap();
    let page = Browser::at(&serving.url()).await;
    page.until("all('tr.hold').length === 4").await;

    page.press_until('\u{e004}', "document.activeElement.id === 'filter'")
        .await;
    page.press("bEA").await;
    page.until("all('tr.hold').length === 2").await;
    assert_eq!(
        page.texts("#counts").await,
        ["2 of 4 held · 0 of 0 waiting"]
    );
    assert_eq!(page.texts("tr .id").await, ["42", "board3"]);
    assert!(page.texts("tr.hold").await[1].contains("rack1 / board3"));
    page.press(" board").await;
    page.until("all('tr.hold').length === 1").await;
    page.press("!").await;
    page.until("text('#empty') === 'Nothing fits the filter.'")
        .await;
    // Escape.
    page.press("\u{e00c}").await;
    page.until("all('tr.hold').length === 4").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_cut_says_so_and_the_filter_finds_the_rest() {
    let serving = Serving::with(|server| {
        let mut limits = Limits::default();
        limits.page = 3;
        server.limits(limits)
    })
    .await;
    for number in 1..=5 {
        let id = mutex_id(&format!("order-{number}"));
        serving
            .mutexes
            .capture(&id)
            .owner(owner("Ada"))
            .await
            .unwrap();
    }
    let page = Browser::at(&serving.url()).await;
    page.until("text('#cut').includes('more than 3 holds')")
        .await;
    assert_eq!(page.texts("tr.hold").await.len(), 3);
    assert_eq!(
        page.texts("#counts").await,
        ["more than 3 held · 0 waiting"]
    );
    page.press_until('\u{e004}', "document.activeElement.id === 'filter'")
        .await;
    page.press("order-5").await;
    page.until("all('tr.hold').length === 1 && lists().includes('order-5')")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn times_go_on_by_the_clock_of_the_database() {
    let serving = Serving::start().await;
    let page = Browser::at(&serving.url()).await;
    // What this machine takes for the time does not matter.
    page.value("Date.now = () => 0").await;
    let capture = serving.mutexes.capture(mutex_id("42")).owner(owner("Ada"));
    capture.timeout(Duration::from_secs(50 * 60)).await.unwrap();
    let left = "(/^(\\d+) min (\\d+) s$/.exec(text('td.left time')) ?? []).slice(1).map(Number)";
    page.until(&format!(
        "{left}.length === 2 && /^\\d+ s$/.test(text('td.for time'))"
    ))
    .await;
    let first = page.value(left).await;
    let seconds =
        |shown: &serde_json::Value| shown[0].as_u64().unwrap() * 60 + shown[1].as_u64().unwrap();
    assert!((49 * 60..50 * 60).contains(&seconds(&first)), "{first}");
    page.until(&format!(
        "{left}.length === 2 && {left}[0] * 60 + {left}[1] < {} - 1",
        seconds(&first)
    ))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pools_are_shown_when_there_are_some() {
    let serving = Serving::start().await;
    let page = Browser::at(&serving.url()).await;
    page.until("!document.getElementById('board').hidden").await;
    assert_eq!(
        page.value("document.getElementById('pools').hidden").await,
        true
    );
    let hostile = "<img src=x onerror='window.hostile = true'>";
    let accounts: pgmutex::SessionPool = pgmutex::SessionPool::new(&serving.mutexes, hostile);
    for _ in 0..3 {
        accounts.add(&serde_json::json!({})).await.unwrap();
    }
    let blocked = accounts.add(&serde_json::json!({})).await.unwrap();
    accounts.session_block(blocked.id, None).await.unwrap();
    let account = accounts.checkout().count_use(2).await.unwrap();
    account.success(1).await.unwrap();

    let cells = "all('#pools tbody tr').map((row) => [...row.children].map((cell) => cell.innerText.trim()))";
    page.until("all('#pools tbody tr').length === 1 && all('#pools tbody td')[0].innerText.trim() === '4' && text('#pools tbody').includes('50 %')")
        .await;
    let expected = [hostile, "4", "2", "1", "0", "1", "0", "50 %"];
    assert_eq!(page.value(cells).await, serde_json::json!([expected]));
    assert_eq!(
        page.value("all('#pools img').length + (window.hostile ? 1 : 0)")
            .await,
        0
    );
    // Those who listen hear a table with heads.
    let heads = page.value("all('#pools [role=columnheader], #pools [role=rowheader]').length");
    assert_eq!(heads.await, 9);

    account.give_back().await.unwrap();
    for session in accounts.find(Default::default(), None, None).await.unwrap() {
        accounts.session_delete(session.id).await.unwrap();
    }
    page.until("document.getElementById('pools').hidden").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_shown_as_text_whatever_they_are() {
    let serving = Serving::start().await;
    let hostile = "<img src=x onerror='window.hostile = true'>";
    let script = "</td><script>window.hostile = true</script>";
    let id = pgmutex::MutexId::new(hostile, script, "\u{202e}gnp.exe {base} ${1}").unwrap();
    let who = pgmutex::MutexOwner::new(hostile).unwrap();
    let who = who.with_name(script).unwrap().with_login(hostile).unwrap();
    let who = who.with_host(hostile).unwrap();
    let capture = serving.mutexes.capture(&id).owner(who.clone());
    capture.status_data(script).await.unwrap();
    let tree = serving.mutexes.tree(hostile);
    let path = tree.path(["__proto__", script, hostile]).unwrap();
    path.capture().owner(who).await.unwrap();

    let page = Browser::at(&serving.url()).await;
    page.until("all('tr.hold').length === 2").await;
    page.click("tr.hold button").await;
    page.until("document.getElementById('force').open").await;
    for place in ["#lists", "#force-what"] {
        let shown = &page.texts(place).await[0];
        assert!(shown.contains(hostile) && shown.contains(script), "{shown}");
        assert!(shown.contains("\\u{202e}gnp.exe"), "{shown}");
    }
    let made = page.value("all('#lists img, #lists script, dialog img, dialog script').length");
    assert_eq!(made.await, 0);
    assert_eq!(
        page.value("window.hostile ?? null").await,
        serde_json::Value::Null
    );
}
