//! Whatever is asked of a tree, in whatever order, the database answers as the rules say.

use std::{collections::BTreeSet, time::Duration};

use pgmutex::{Access, CaptureOutcome, Error, Mutexes, Reach, SessionBackend, TreePath};
use tokio::time::timeout;
use tokio_postgres::Client;

use super::model::{Answer, Hold, Model, Sharing};
use crate::{
    histories::decisions::Decisions,
    support::{Database, owner},
};

/// How long the steps of one call may take before they are considered hung. Not a measure of
/// anything.
const HUNG: Duration = Duration::from_secs(120);

/// Two of them are near the ends of what lies below the third.
const SEGMENTS: [&str; 3] = ["a", "a.", "a0"];
const OWNERS: [&str; 4] = ["v", "w", "x", "y"];
const SHARINGS: [Sharing; 6] = [None, None, None, None, Some(None), Some(Some(2))];

#[derive(Clone, Debug)]
enum Step {
    Capture(Hold),
    /// Whether a capture would be refused.
    Look(Hold),
    Release(Hold),
    ForceRelease(Hold),
    /// The time of what is held at the path passes.
    Age(Hold),
}

impl Step {
    fn any(decisions: &mut Decisions) -> Self {
        let levels = decisions.one_of(&[0, 1, 1, 2, 2, 2, 3, 3, 3, 3]);
        let mut path = String::from("/");
        for _ in 0..levels {
            path.push_str(decisions.one_of(&SEGMENTS));
            path.push('/');
        }
        let who = decisions.one_of(&OWNERS);
        let reach = (decisions.percent(60), decisions.percent(60));
        let hold = Hold::new(&path, who, decisions.one_of(&SHARINGS), reach);
        match decisions.below(100) {
            0..50 => Self::Capture(hold),
            50..60 => Self::Look(hold),
            60..90 => Self::Release(hold),
            90..93 => Self::ForceRelease(hold),
            _ => Self::Age(hold),
        }
    }

    fn named(&self) -> (&'static str, &Hold) {
        match self {
            Self::Capture(hold) => ("capture", hold),
            Self::Look(hold) => ("look", hold),
            Self::Release(hold) => ("release", hold),
            Self::ForceRelease(hold) => ("force_release", hold),
            Self::Age(hold) => ("age", hold),
        }
    }

    /// Takes the step in the model, and fails if the answer is another: an outcome, and of a busy
    /// path who is in the way and where.
    #[track_caller]
    fn is_answered(&self, model: &mut Model, answer: &str) {
        let one_of = |blockers: BTreeSet<(String, String)>| {
            let blockers = blockers.into_iter();
            blockers
                .map(|(path, who)| format!("busy {path} {who}"))
                .collect()
        };
        let expected: BTreeSet<String> = match self {
            Self::Capture(wanted) => match model.capture(wanted.clone()) {
                Answer::Captured => BTreeSet::from(["captured".to_owned()]),
                Answer::Refreshed => BTreeSet::from(["refreshed".to_owned()]),
                Answer::Evicted => BTreeSet::from(["evicted".to_owned()]),
                Answer::CapturedOrEvicted => {
                    BTreeSet::from(["captured".to_owned(), "evicted".to_owned()])
                }
                Answer::Busy(blockers) => one_of(blockers),
            },
            Self::Look(wanted) => {
                let in_the_way = model.in_the_way(&wanted.path, &wanted.owner, wanted.sharing);
                match in_the_way.is_empty() {
                    true => BTreeSet::from(["free".to_owned()]),
                    false => one_of(in_the_way),
                }
            }
            Self::Release(hold) => BTreeSet::from([match model.release(&hold.path, &hold.owner) {
                Ok(true) => "released",
                Ok(false) => "not_held",
                Err(()) => "busy",
            }
            .to_owned()]),
            Self::ForceRelease(hold) => {
                model.force_release(&hold.path);
                BTreeSet::from([String::new()])
            }
            Self::Age(hold) => {
                model.age(&hold.path);
                BTreeSet::from([String::new()])
            }
        };
        assert!(
            expected.contains(answer),
            "{self:?} is answered {answer:?} instead of {expected:?}\n{:#?}",
            model.holds
        );
    }
}

/// Takes many steps in one call.
const TAKE: &str = "
    create function pg_temp.take(tree text, steps text[], paths text[], owners text[], accesses text[], limits integer[],
                                 parents boolean[], children boolean[]) returns text[] language plpgsql as $$
    declare
        answers text[] := '{}';
        answer pgmutex.hold_outcome;
    begin
        for n in 1..cardinality(steps) loop
            case steps[n]
            when 'capture' then
                answer := pgmutex.capture(tree, 'tree', paths[n], owners[n], access => accesses[n], permits => limits[n],
                                          lock_parents => parents[n], lock_children => children[n]);
                answers := answers || case when answer.outcome = 'busy' then concat_ws(' ', 'busy', answer.mutex_id, answer.owner_session)
                                           else answer.outcome end;
            when 'look' then
                answer := pgmutex.holder_in_the_way(tree, 'tree', paths[n], owners[n], accesses[n], limits[n], parents[n], children[n]);
                answers := answers || case when answer.outcome = 'busy' then concat_ws(' ', 'busy', answer.mutex_id, answer.owner_session)
                                           else answer.outcome end;
            when 'release' then
                answers := answers || (pgmutex.release(tree, 'tree', paths[n], owners[n])).outcome;
            when 'force_release' then
                perform pgmutex.force_release(tree, 'tree', paths[n], 'test');
                answers := answers || ''::text;
            when 'age' then
                update pgmutex.mutex_model set captured_since = captured_since - interval '1 hour'
                where mutex_group = tree and mutex_id = paths[n];
                answers := answers || ''::text;
            end case;
        end loop;
        return answers;
    end $$";

const HELD: &str = "
    select expires_at < clock_timestamp(),
           concat_ws(' ', mutex_id, owner_session, case when permit = 0 then 'alone' when permits is null then 'shared'
                                                        else 'shared by ' || permits end,
                     case when lock_parents then 'true' else 'false' end, case when lock_children then 'true' else 'false' end)
    from pgmutex.mutex_model where mutex_group = $1";

async fn take(client: &Client, tree: &str, steps: &[Step]) -> Vec<String> {
    let column = |text: fn(&Step) -> &str| steps.iter().map(text).collect::<Vec<_>>();
    let flag = |flag: fn(&Hold) -> bool| {
        let flags = steps.iter().map(|step| flag(step.named().1));
        flags.collect::<Vec<_>>()
    };
    let accesses = column(|step| match step.named().1.sharing {
        None => "exclusive",
        Some(_) => "shared",
    });
    let limits: Vec<Option<i32>> = steps
        .iter()
        .map(|step| Some(i32::try_from(step.named().1.sharing??).unwrap()))
        .collect();
    let taken = client
        .query_one(
            "select pg_temp.take($1, $2, $3, $4, $5, $6, $7, $8)",
            &[
                &tree,
                &column(|step| step.named().0),
                &column(|step| &step.named().1.path),
                &column(|step| &step.named().1.owner),
                &accesses,
                &limits,
                &flag(|hold| hold.lock_parents),
                &flag(|hold| hold.lock_children),
            ],
        )
        .await
        .unwrap();
    taken.get(0)
}

/// Takes so many steps in a tree of its own.
async fn differs_nowhere(client: Client, tree: &str, mut decisions: Decisions, steps: usize) {
    const AT_ONCE: usize = 250;
    client.batch_execute(TAKE).await.unwrap();
    let mut model = Model::default();
    let mut answers = BTreeSet::new();
    for _ in 0..steps / AT_ONCE {
        let steps: Vec<Step> = (0..AT_ONCE).map(|_| Step::any(&mut decisions)).collect();
        let answered = timeout(HUNG, take(&client, tree, &steps)).await;
        let answered = answered.expect("the steps hang");
        assert_eq!(answered.len(), steps.len());
        for (step, answer) in steps.iter().zip(&answered) {
            step.is_answered(&mut model, answer);
            answers.extend(answer.split(' ').next().map(str::to_owned));
        }
        let (over, live): (Vec<_>, Vec<_>) = client
            .query(HELD, &[&tree])
            .await
            .unwrap()
            .into_iter()
            .map(|row| (row.get::<_, bool>(0), row.get::<_, String>(1)))
            .partition(|(is_over, _)| *is_over);
        let live: BTreeSet<String> = live.into_iter().map(|(_, hold)| hold).collect();
        assert_eq!(live, model.held());
        let known = model.over();
        assert!(
            over.iter().all(|(_, hold)| known.contains(hold)),
            "{over:?} {known:?}"
        );
    }
    // What never happens shows nothing.
    for outcome in [
        "captured",
        "refreshed",
        "evicted",
        "busy",
        "free",
        "released",
        "not_held",
    ] {
        assert!(answers.contains(outcome), "{answers:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_steps_are_answered_as_the_rules_say() {
    let database = Database::fresh().await;
    let mut decisions = Decisions::announced();
    let (one, two) = (decisions.branch(), decisions.branch());
    let both = futures_util::future::join(
        tokio::spawn(differs_nowhere(database.client().await, "one", one, 50_000)),
        tokio::spawn(differs_nowhere(database.client().await, "two", two, 50_000)),
    );
    let (one, two) = both.await;
    one.unwrap();
    two.unwrap();
}

/// The path of a hold, as it is captured.
fn path_of(mutexes: &Mutexes, tree: &str, hold: &Hold) -> TreePath {
    let inside = hold.path.trim_matches('/');
    let segments = inside.split('/').filter(|segment| !segment.is_empty());
    let path = mutexes.tree(tree).path(segments).unwrap();
    assert_eq!(path.id().id(), hold.path);
    path.lock_parents(hold.lock_parents)
        .lock_children(hold.lock_children)
}

fn access_of(hold: &Hold) -> Access {
    match hold.sharing {
        None => Access::Exclusive,
        Some(None) => Access::shared(),
        Some(Some(limit)) => Access::permit_of(limit),
    }
}

fn busy(error: &Error) -> String {
    match error {
        Error::Busy { holder, .. } => {
            format!("busy {} {}", holder.id.id(), holder.owner.session_id())
        }
        other => panic!("{other:?}"),
    }
}

/// The same by way of [`TreePath`].
async fn step_by_step(mutexes: &Mutexes, steps: usize) {
    let mut decisions = Decisions::announced();
    let mut model = Model::default();
    let mut taken = 0;
    while taken < steps {
        let step = Step::any(&mut decisions);
        let (_, hold) = step.named();
        let (path, who) = (path_of(mutexes, "lab", hold), owner(&hold.owner));
        let answer = match &step {
            // Time passes in other tests.
            Step::Age(_) => continue,
            Step::Capture(_) => {
                let capture = path.capture().owner(who).access(access_of(hold));
                match capture.await {
                    Ok(captured) if captured.outcome == CaptureOutcome::Captured => {
                        let reach = Reach {
                            parents: hold.lock_parents,
                            children: hold.lock_children,
                        };
                        let was_there = model
                            .holds
                            .iter()
                            .any(|other| (&other.path, &other.owner) == (&hold.path, &hold.owner));
                        assert!(was_there || captured.reach == reach, "{captured:?}");
                        "captured".to_owned()
                    }
                    Ok(captured) => {
                        assert_eq!(captured.outcome, CaptureOutcome::Refreshed);
                        "refreshed".to_owned()
                    }
                    Err(error) => busy(&error),
                }
            }
            // It asks for the path alone.
            Step::Look(_) if hold.sharing.is_some() => continue,
            Step::Look(_) => match mutexes.holder_in_the_way(&path, &who).await.unwrap() {
                None => "free".to_owned(),
                Some(holder) => {
                    format!("busy {} {}", holder.id.id(), holder.owner.session_id())
                }
            },
            Step::Release(_) => match path.release().owner(who).await {
                Ok(released) if released.is_released() => "released".to_owned(),
                Ok(_) => "not_held".to_owned(),
                Err(error) => busy(&error)[..4].to_owned(),
            },
            Step::ForceRelease(_) => {
                path.force_release("test").await.unwrap();
                String::new()
            }
        };
        step.is_answered(&mut model, &answer);
        taken += 1;
    }
}

#[tokio::test]
async fn paths_are_answered_as_the_rules_say_by_postgres() {
    let database = Database::fresh().await;
    step_by_step(&database.mutexes().await, 2_000).await;
}

#[tokio::test]
async fn paths_are_answered_as_the_rules_say_in_the_process() {
    let mutexes = Mutexes::builder().backend(SessionBackend::new());
    step_by_step(&mutexes, 20_000).await;
}
