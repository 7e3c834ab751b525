"""One process of an application that uses m3-mutex as it is: takes one command a line, and answers with one line each."""

import datetime
import json
import os
import random
import sys
import warnings

os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
import django

django.setup()
# With USE_TZ the package's naive times are warned of.
warnings.simplefilter("ignore")

from django.db import IntegrityError, connection
from m3_mutex.api import capture_mutex, release_mutex, request_mutex
from m3_mutex.backends import ModelMutexBackend
from m3_mutex.domain import MutexID, MutexOwner, TimeoutAutoRelease
from m3_mutex.exceptions import MutexBusy
from m3_mutex.helpers import delete_stale_mutexes_pg
from m3_mutex.models import MutexModel


def say(answer):
    print(json.dumps(answer), flush=True)


def stop_before(step):
    """The next time that the package is about to take this step, says so and waits for a line."""
    real = getattr(ModelMutexBackend, step)

    def stopped(self, *arguments):
        setattr(ModelMutexBackend, step, real)
        say({"stopped": step})
        sys.stdin.readline()
        return real(self, *arguments)

    setattr(ModelMutexBackend, step, stopped)


def mutex(name):
    return MutexID("tests", "step", name)


def owner(session):
    return MutexOwner(session, user_id=7, name="Name of " + session, login="login", host="host")


def seen(stored):
    if stored is None:
        return None
    answer = {
        "id": [stored.id.group, stored.id.mode, stored.id.id],
        "owner": [stored.owner.session_id, str(stored.owner.user_id), stored.owner.login, stored.owner.name],
        "rule": stored.auto_release and stored.auto_release.dump(),
        "status_data": stored.status_data,
    }
    # Times without a time zone are compared as the package does.
    if stored.captured_since.tzinfo is None:
        age = (datetime.datetime.now() - stored.captured_since).total_seconds()
        answer["is of the last minute"] = -1 < age < 60
    return answer


def capture(name, session, timeout=300, status_data=None, **_):
    return seen(capture_mutex(mutex(name), owner(session), TimeoutAutoRelease(timeout), status_data))


def release(name, session, **_):
    return release_mutex(mutex(name), owner(session))


def request(name, session, **_):
    state, stored = request_mutex(mutex(name), owner(session))
    return [state, seen(stored)]


def delete_stale(**_):
    return delete_stale_mutexes_pg()


def rows(**_):
    return [
        [row.mutex_id, row.owner_session, row.owner_host, row.owner_id, row.auto_release_rule, row.auto_release_config, row.status_data]
        for row in MutexModel.objects.order_by("mutex_id")
    ]


def save_twice(name, session, **_):
    """What is saved is found again by its number, and deleted by it."""
    row = MutexModel(mutex_group="tests", mutex_mode="step", mutex_id=name, owner_session=session, captured_since=datetime.datetime.now())
    row.save()
    found = MutexModel.objects.get(pk=row.pk)
    row.status_data = "again"
    row.save()
    found.refresh_from_db()
    deleted, _ = row.delete()
    return [found.mutex_id, found.status_data, deleted, MutexModel.objects.filter(pk=row.pk).count()]


def contend(name, rounds, mutexes, seed, **_):
    """Captures again and again, and keeps a history of it. Now and then it forgets to release."""
    dice = random.Random(seed)
    captured = 0
    while captured < rounds:
        which, session = str(dice.randrange(mutexes)), f"{name} {captured}"
        try:
            capture_mutex(mutex(which), owner(session), TimeoutAutoRelease(1))
        except (MutexBusy, IntegrityError):
            continue
        captured += 1
        with connection.cursor() as cursor:
            cursor.execute("select history_begins(%s, %s)", [which, session])
            if dice.random() < 0.03:
                continue
            cursor.execute("select history_ends(%s)", [session])
        try:
            release_mutex(mutex(which), owner(session))
        except MutexBusy:
            pass  # its time was up
    return captured


COMMANDS = {do.__name__: do for do in [capture, release, request, delete_stale, rows, save_twice, contend]}

for line in sys.stdin:
    command = json.loads(line)
    if command.get("stop_before"):
        stop_before(command["stop_before"])
    try:
        do = COMMANDS[command.pop("do")]
        say({"done": do(**command)})
    except Exception as error:
        say({"error": type(error).__name__, "message": str(error)})
