//! What the application sees, and what becomes of what it sends.

use super::{Application, insert, refusal, with_view};

/// What a DateTimeField without time zones reads: the wall clock of the session's time zone.
#[tokio::test]
async fn times_are_the_databases_in_the_sessions_time_zone() {
    let database = with_view().await;
    let application = Application::new(&database).await;
    application
        .0
        .run("set time zone 'Pacific/Kiritimati'")
        .await;
    application.insert("m", "a").await.unwrap();
    let is_now = "select (captured_since::timestamp between localtimestamp - interval '10 minutes' and clock_timestamp()::timestamp)::text \
                  from m3_mutex";
    assert_eq!(application.0.ask(is_now).await, "true");
    application.0.age("m", "1 minute").await;
    application.0.run("set time zone 'Pacific/Honolulu'").await;
    let returned = "update m3_mutex set captured_since = '2000-01-01' \
                    returning (captured_since > now() - interval '30 seconds')::text";
    assert_eq!(application.0.ask(returned).await, "true");
    assert_eq!(application.0.ask(is_now).await, "true");
    let kept = "select (held_since < captured_since)::text from pgmutex.held";
    assert_eq!(application.0.ask(kept).await, "true");
}

#[tokio::test]
async fn settings_are_taken_as_the_package_reads_them() {
    let database = with_view().await;
    let application = Application::new(&database).await;
    for (rule, sent, seen) in [
        ("timeout", "60", "60"),
        ("timeout", "1.5", "300"),
        ("timeout", "", "300"),
        ("timeout", " +60 ", "60"),
        ("timeout", "0", "300"),
        ("timeout", "99999999999999999999", "2147483647"),
        ("", "", ""),
        ("of their own", "whatever", "whatever"),
    ] {
        application.0.ask(&insert("m", "a", rule, sent)).await;
        let config = "select auto_release_rule || ' ' || auto_release_config from m3_mutex";
        assert_eq!(application.0.ask(config).await, format!("{rule} {seen}"));
        application.delete("m").await.unwrap();
    }
    let negative = insert("m", "a", "timeout", "-1");
    let refused = application.0.try_ask(&negative).await.unwrap_err();
    assert_eq!(refusal(refused).0, "PM003");
}

#[tokio::test]
async fn an_update_takes_the_status_and_the_rule_and_refuses_another_owner() {
    let database = with_view().await;
    let application = Application::new(&database).await;
    application.insert("m", "a").await.unwrap();
    let row =
        "select concat_ws(' ', status_data, auto_release_rule, auto_release_config) from m3_mutex";
    application
        .0
        .run("update m3_mutex set captured_since = '2000-01-01', status_data = 'half'")
        .await;
    assert_eq!(application.0.ask(row).await, "half timeout 300");
    application.update("m").await.unwrap();
    assert_eq!(application.0.ask(row).await, "half timeout 300");
    application
        .0
        .run("update m3_mutex set auto_release_config = '60', status_data = null")
        .await;
    assert_eq!(application.0.ask(row).await, "timeout 60");
    for change in [
        "owner_session = 'b'",
        "owner_name = 'b'",
        "mutex_id = 'n'",
        "id = 1",
        "auto_release_config = '-60'",
        "status_data = repeat('x', 65537)",
    ] {
        let statement = format!("update m3_mutex set {change}");
        let refused = application.count(&statement).await.unwrap_err();
        assert_eq!(refused.0, "PM003", "{change}");
    }
    assert_eq!(application.0.ask(row).await, "timeout 60");
}

#[tokio::test]
async fn a_shared_mutex_is_one_row() {
    let database = with_view().await;
    let (application, session) = (Application::new(&database).await, database.session().await);
    for reader in ["first", "second"] {
        session.capture_as("m", reader, "access => 'shared'").await;
    }
    assert!(application.read("m").await.unwrap().ends_with(" first"));
    session.release("m", "first").await;
    assert!(application.read("m").await.unwrap().ends_with(" second"));
    assert!(application.insert("m", "a").await.is_err());
}

#[tokio::test]
async fn rows_are_found_by_name_and_by_number_without_reading_the_others() {
    let database = with_view().await;
    let application = Application::new(&database).await;
    application.0.run("set enable_seqscan = off").await;
    for (condition, index) in [
        (
            "mutex_group = 'g' and mutex_mode = 'm' and mutex_id = 'i'",
            "mutex_model_pkey",
        ),
        ("id = 5", "mutex_model_m3_mutex_id"),
        ("id in (5, 6)", "mutex_model_m3_mutex_id"),
    ] {
        for statement in ["select * from", "delete from"] {
            let plan = format!("explain (format json) {statement} m3_mutex where {condition}");
            let rows = database.client().await;
            rows.batch_execute("set enable_seqscan = off")
                .await
                .unwrap();
            let row = rows.query_one(plan.as_str(), &[]).await.unwrap();
            let plan: String = row.get::<_, Json>(0).0;
            assert!(plan.contains(index), "{statement} {condition}: {plan}");
            assert!(
                !plan.contains("Seq Scan"),
                "{statement} {condition}: {plan}"
            );
        }
    }
}

/// A plan, as text.
struct Json(String);

impl<'a> tokio_postgres::types::FromSql<'a> for Json {
    fn from_sql(
        _: &tokio_postgres::types::Type,
        raw: &'a [u8],
    ) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(String::from_utf8(raw.to_vec())?))
    }

    fn accepts(kind: &tokio_postgres::types::Type) -> bool {
        *kind == tokio_postgres::types::Type::JSON
    }
}

#[tokio::test]
async fn refreshing_stays_a_hot_update() {
    let database = with_view().await;
    let application = Application::new(&database).await;
    application.insert("m", "a").await.unwrap();
    application.0.run("begin").await;
    application.update("m").await.unwrap();
    let hot = "select (n_tup_upd > 0 and n_tup_upd = n_tup_hot_upd)::text from pg_stat_xact_user_tables where relid = 'pgmutex.mutex_model'::regclass";
    assert_eq!(application.0.ask(hot).await, "true");
    application.0.run("commit").await;
}

#[tokio::test]
async fn another_isolation_level_may_look_and_decides_nothing() {
    let database = with_view().await;
    let application = Application::new(&database).await;
    application.insert("m", "a").await.unwrap();
    for level in ["repeatable read", "serializable"] {
        for attempt in 0..3 {
            application
                .0
                .run(&format!("begin isolation level {level}"))
                .await;
            assert!(application.read("m").await.is_some());
            let refused = match attempt {
                0 => application.insert("n", "a").await,
                1 => application.update("m").await,
                _ => application.delete("m").await,
            };
            assert_eq!(refused.unwrap_err().0, "PM001", "{level}");
            application.0.run("rollback").await;
        }
    }
}
