"""The rules' tests notice: what guards against a false alert is taken out, and a named test fails."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from tests import needs
from tests.rules.mutation import RULE_TEXTS, WRITTEN, Documents, all_rules, shipped, unnoticed
from tests.rules.shipped import ALERTS, label, parse

pytestmark = needs.prometheus


class Mutant(NamedTuple):
    """``guard``, a pattern in the rules, is replaced; ``test`` in ``file`` has to fail."""

    guard: str
    replacement: str
    file: str
    test: str


QUIET = "four clicks within an hour on a link that has none"
LIVELY = "thirty-eight clicks in an hour where ten come"
BURSTY = "a link that bursts every 29 hours is told once, and then known"
STOPS = "a link of 60 clicks an hour gets no more"
NIGHT = "an evening is silent, and so is the night after it, as ever"
SMALL = "a link of three clicks in two hours gets no more"
FADES = "a campaign fades and ends"
ANEW = "a counter that began anew is no flatline"
FROZEN = "a cache that stands still for five hours, and the jump after it"
AWAY = "the provider takes clicks back while the exporter is down for ten minutes"
SHIFT = "two and a half times the clicks for a week, too few clicks to tell, and a campaign that fades"
REPLICA = "of two replicas that share nothing, the one that counts from more goes and comes back"
MANY = "five of six links stop in one account, four of four and five of twenty-five in others"
ENDED = "five links end over three days, and five others at once"
AGAIN = "five links spike, one of which did so a day ago"
MENDED = "four links ended long before, five stop at once, and four of these are mended"
IDLE = "five links spike on which nothing was to be expected, while another stops"
REFUSED = "a login is refused"
BLOCKED = "the address is blocked"
UNKNOWN = "a link the provider does not know"
STUCK = "a link is read no more, and one never was"
CORRECTED = "a correction, and that it is undone"
UNDONE = "a correction that is undone, and a spike that goes beyond it"
COMES_AND_GOES = "an exporter that comes and goes, and one that was away once"
WELL_AGAIN = "an exporter that was down three times in an hour, and is well"
ONE_OF_TWO = "one of two replicas comes and goes"
MOSTLY_UP = "an exporter that is up for most of the time"
MISSED_SCRAPES = "a scrape fails now and then"
FAR_LOWER = "a counter begins anew far lower, and a name is given to a link of fewer clicks"
RENAMED = "a name is given to a link of more clicks, and the exporter is moved"
NAMES = "names are given to links of other traffic after eight days, and links of their own change as much"
MISSED_SCRAPE = "scrapes fail of one of two replicas that share nothing and read every quarter of an hour"
DOWN_FOR_HOURS = "an exporter that was down for five hours"
TAKEN_OUT = "the exporter of an account is down, and another account was taken out"
LOOPS = "the only exporter of an account comes and goes"
FOUR_OF_NINE = "the only exporter of an account is up for four minutes of nine"
ALL_DOWN = "everything is down"
SLOW_LOOP = "an exporter is up for ten minutes and down for four and a half, again and again"
OUT_OF_REACH = "the provider is out of reach, twice"
MOST_OF_TWELVE = "the provider is out of reach for eight minutes of twelve"
NOW_AND_THEN = "the provider answers now and then"
ONE_READS = "one of two replicas cannot read what the other one reads"
MOSTLY_AWAY = "the replica that can read what the other one cannot answers one scrape in five"
REPLACED = "an exporter is replaced by one that is refused"
LEFT = "most links of an account are gone"
EVERY_FOURTH = "every fourth scrape fails, just when the rules run"
JUST_THEN = "a scrape fails just when the rules run"
TAKEN_BACK = "the provider takes three clicks back, and more than three come"

CAMPAIGNS = "of the campaigns of an account one surges and three die"
LAUNCHED = "campaigns are launched, and fade within hours"
INSTALLED = "an installation on links of which only the provider knows"
EVERGREEN = "an evergreen link of six clicks an hour gets no more after a day"
RETURNS = "a surge ends, clicks come back, and silence outlasts an outage"
BUSIER = "a name is given to a busier link, and readings stand still"
OF_AGE = "links come of age"

ONE = r"topk by \(job, account, link\) \(1,"

SAID_BY_EXPORTERS = (
    "smsc_exporter_storage_up",
    "smsc_exporter_config_last_reload_successful",
    "smsc_exporter_link_file_last_load_successful",
    "smsc_account_paused_until_timestamp_seconds",
    "smsc_account_state",
    "smsc_account_polling_lag_seconds",
    "smsc_account_links",
    "smsc_link_failing",
    "smsc_link_info",
    "smsc_link_clicks_all_time",
)
SAID_OF_LINKS = (
    "smsc_link_clicks_total",
    "smsc_link_clicks_all_time",
    "smsc_link_last_success_timestamp_seconds",
    "smsc_link_info",
)

MUTANTS = {
    "freshness gate": Mutant(r"and abs\(smsc:clicks:age_seconds - .*<= 900", "", "gates.yml", FROZEN),
    "no delta over a break": Mutant(r"unless present_over_time\(smsc:clicks:broken.*", "", "gates.yml", ANEW),
    "a fall is a break": Mutant(r"(smsc:clicks:ahead) < (last_over)", r"\1 < 0 * \2", "gates.yml", ANEW),
    "a return is a break": Mutant(
        r"or max by .*taken_back unless .*\n.*offset 5m\)", "", "gates.yml", REPLICA
    ),
    "what was back before is no return": Mutant(
        r"unless smsc:clicks:taken_back offset 5m", "", "undone.yml", CORRECTED
    ),
    "a lower counter is a break": Mutant(
        r"\(\n +smsc:clicks:total <(?s:.*?)\n +\)\n *or ", "", "gates.yml", FAR_LOWER
    ),
    "another link is a break": Mutant(r"or smsc:link:renamed\n", "", "undone.yml", RENAMED),
    "what another link had is no measure": Mutant(
        r"unless present_over_time\(smsc:link:renamed\[25h\]\)", "", "undone.yml", RENAMED
    ),
    "a small correction is no break": Mutant(
        r"\+ 3( +# constant: clicks taken)", r"+ 0\1", "gates.yml", AWAY
    ),
    "a large one is": Mutant(r"\+ 3( +# constant: clicks taken)", r"+ 9\1", "gates.yml", AWAY),
    "an older reading is no break": Mutant(
        r"unless smsc:clicks:read_timestamp_seconds <.*", "", "undone.yml", MISSED_SCRAPE
    ),
    "another exporter of a link is no other link": Mutant(
        r"unless last_over_time\(smsc:link:id\[7d\] offset 5m\)", "", "undone.yml", RENAMED
    ),
    "the same link after an outage is no other": Mutant(
        r"(unless last_over_time\(smsc:link:id)\[7d\]", r"\1[1h]", "renamed.yml", NAMES
    ),
    "another link after days": Mutant(
        r"(count by .*last_over_time\(smsc:link:id)\[7d\]", r"\1[1h]", "renamed.yml", NAMES
    ),
    "another link, where a replica still has the old one": Mutant(
        r"count by (\(.*\)) \((last_over_time\(smsc:link:id\[7d\]\))\) > 1",
        r"on \1 (\2 unless smsc:link:id)",
        "renamed.yml",
        NAMES,
    ),
    "of another link nothing is to be expected": Mutant(
        r"unless on \(job, account, link, ago\) smsc:link:was_another", "", "renamed.yml", NAMES
    ),
    "nor where it is compared with last week": Mutant(
        r"unless on \(job, account, link\) smsc:link:was_another.*", "", "renamed.yml", NAMES
    ),
    **{
        f"another link, {ago} ago": Mutant(
            rf'label_replace\(smsc:link:id offset .*"{ago}", "", ""\)', "vector(1) < 1", "renamed.yml", NAMES
        )
        for ago in ("1w", "2w")
    },
    "given back at once": Mutant(
        r"or max by .*\(smsc:link:id unless smsc:link:id offset 5m\)\n.*", "", "undone.yml", RENAMED
    ),
    "the same link is expected on": Mutant(
        r"unless on \(job, account, link, id\) smsc:link:id\n", "", "renamed.yml", NAMES
    ),
    "a link that is away is no other one": Mutant(
        r"and on \(job, account, link\) smsc:link:id\n", "", "gates.yml", DOWN_FOR_HOURS
    ),
    "a flatline outlasts a break": Mutant(r"(smsc:clicks:silent)\[4h\]", r"\1[3h]", "flatline.yml", STOPS),
    "a flatline is not taken up where clicks had come": Mutant(
        r"(smsc:clicks:silent\[4h\] offset 5m\)) == 1", r"\1 >= 0", "gates.yml", NIGHT
    ),
    "many links outlast an outage": Mutant(
        r'(SmscManyLinksAnomalous", alertstate="firing"\})\[4h\]', r"\1[1h]", "ended.yml", ENDED
    ),
    "what is counted again is no spike": Mutant(
        r"smsc:clicks:new >", 'smsc:clicks:delta{window="1h"} >', "spike.yml", UNDONE
    ),
    "what is counted again does not teach": Mutant(
        r"smsc:clicks:new /", 'smsc:clicks:delta{window="1h"} /', "spike.yml", UNDONE
    ),
    "corrections over an outage": Mutant(
        r"last_over_time\((smsc:clicks:taken_back)\[1d\] offset 1h\)", r"\1 offset 1h", "fell.yml", TAKEN_BACK
    ),
    "each exporter with itself": Mutant(
        r"smsc:clicks:taken_back - last_over_time\(smsc:clicks:taken_back",
        "smsc:clicks:ahead - last_over_time(smsc:clicks:ahead",
        "fell.yml",
        TAKEN_BACK,
    ),
    "up and down more than once": Mutant(
        r"and max by \(job\) \(changes.*", "", "exporter.yml", COMES_AND_GOES
    ),
    "half of the scrapes": Mutant(r"(avg_over_time\(up.*) < 0\.5", r"\1 < 2", "exporter.yml", COMES_AND_GOES),
    "a scrape that fails now and then": Mutant(
        r"(avg_over_time\(up.*) < 0\.9", r"\1 < 1", "exporter.yml", MISSED_SCRAPES
    ),
    "a loop that is up for long": Mutant(
        r"(avg_over_time\(up.*) < 0\.9", r"\1 < 0.5", "exporter.yml", MOSTLY_UP
    ),
    "a slow loop": Mutant(r"(changes\(up.*\[30m\]\)) >= 4", r"\1 >= 6", "exporter.yml", SLOW_LOOP),
    "what is left of a loop": Mutant(
        r"and changes\(up.*\[30m\]\) >= 4\n", "", "exporter.yml", COMES_AND_GOES
    ),
    "two outages are no loop": Mutant(r"and changes\(up.*\[1h\]\) >= 6\n", "", "exporter.yml", WELL_AGAIN),
    "out of reach for most of half an hour": Mutant(
        r"or max by \(job, account\) \(\n +avg_over_time.*\n.*\n +\)\n +unless .*",
        "",
        "exporter.yml",
        MOST_OF_TWELVE,
    ),
    "and still out of reach": Mutant(
        r'and max_over_time\(smsc_account_state\{state="unreachable"\}\[5m\]\) == 1\n',
        "",
        "exporter.yml",
        OUT_OF_REACH,
    ),
    "well by now": Mutant(r"unless max by \(job\) \(min_over_time.*", "", "exporter.yml", WELL_AGAIN),
    "another replica answers": Mutant(
        r"and on \(job\) max by \(job\) \(avg_over_time.*", "", "exporter.yml", COMES_AND_GOES
    ),
    "taken out of the configuration": Mutant(
        r"or \(last_over_time\(smsc:account:had_links.*", "", "exporter.yml", TAKEN_OUT
    ),
    "missed while it is down": Mutant(
        r"or last_over_time\(smsc:account:had_links.*", "", "exporter.yml", TAKEN_OUT
    ),
    "gone with its exporter": Mutant(
        r'(had_links\[1d\]\)) and on \(job, instance\) up\{job="smsc"\} == 0',
        r'\1 unless on (job, instance) up{job="smsc"} == 1',
        "exporter.yml",
        TAKEN_OUT,
    ),
    "the share of time of an account's exporter": Mutant(
        r"(had_links > 0 and on \(job, instance\)) smsc:exporter:away == 1",
        r'\1 up{job="smsc"} == 0',
        "exporter.yml",
        LOOPS,
    ),
    "another exporter has it": Mutant(
        r"unless max by \(job, account\) \(smsc:account:had_links.*", "", "exporter.yml", TAKEN_OUT
    ),
    "some exporter is up": Mutant(r"and on \(job\) smsc:exporter:away == 0", "", "exporter.yml", ALL_DOWN),
    "away for most of half an hour": Mutant(
        r"\+ \(avg_over_time\(up.*(?=,\n)", "", "exporter.yml", FOUR_OF_NINE
    ),
    "and still away": Mutant(r"\* \(min_over_time\(up.*(?=,\n)", "", "exporter.yml", TAKEN_OUT),
    "a target is missed at once": Mutant(r"\n +and up\{job=\"smsc\"\}\n", "\n", "exporter.yml", REPLACED),
    "what is away reads nothing": Mutant(
        r"and on \(job, instance\) smsc:exporter:away == 0\n", "", "exporter.yml", MOSTLY_AWAY
    ),
    "what is away reaches nothing": Mutant(
        r" and on \(job, instance\) smsc:exporter:away == 0(?=\) > 0\.5)", "", "exporter.yml", MOSTLY_AWAY
    ),
    **{
        f"fires on a state that comes and goes: {name}": Mutant(
            guard, replacement, "exporter.yml", NOW_AND_THEN
        )
        for name, guard, replacement in (
            ("unreachable", r'avg_over_time\((.*"unreachable"\})\[5m\]\)\) > 0\.5', r"\1) == 1"),
            (
                "unreachable, up",
                r"(> 0.5\n +unless .*\()avg_over_time\((smsc_account_up)\[5m\]\)",
                r"\1\2",
            ),
            ("unreachable, rarely", r'(avg_over_time\(.*"unreachable"\}\[5m\]\)\)) > 0\.5', r"\1 > 0.1"),
            ("lag", r"min_over_time\((smsc_account_state.*)\[10m\]\) == 1", r"\1 == 1"),
        )
    },
    **{
        f"another one reads it: {state}": Mutant(
            rf'(\{{state="{state}"\}}\[5m\]\)\) == 1)\n +unless(?s:.*?)\n +\)\n',
            "\\1\n",
            "exporter.yml",
            ONE_READS,
        )
        for state in ("unauthorized", "blocked")
    },
    "another one reads it: unreachable": Mutant(
        r'("unreachable"\}\[5m\]\)\) > 0\.5)\n +unless.*', r"\1", "exporter.yml", ONE_READS
    ),
    "failed polls of the other one": Mutant(
        r"avg_over_time\((smsc_account_up)\[10m\]\)", r"\1", "exporter.yml", ONE_READS
    ),
    **{
        f"one that is {state} was well until now": Mutant(
            rf'unless on \(job, instance, account\) last.*\(smsc_account_state\{{state="{state}"\}}.*',
            "",
            "exporter.yml",
            test,
        )
        for state, test in (("unauthorized", REFUSED), ("blocked", BLOCKED))
    },
    "hindered where another one is not": Mutant(
        r"and on \(job, account\) smsc:account:read(?=\n)",
        "",
        "exporter.yml",
        ONE_READS,
    ),
    "lag of those that can read": Mutant(
        r"unless on \(job, instance, account\)\n +min_over_time.*", "", "exporter.yml", ONE_READS
    ),
    "count floor of a spike": Mutant(r"\+ 4 +# constant", "+ 0 # constant", "spike.yml", QUIET),
    "deviations of a spike": Mutant(r"\+ 3 +# constant", "+ 0 # constant", "spike.yml", LIVELY),
    "factor of a spike": Mutant(r"\b3( +# constant: .* the expected)", r"1\1", "spike.yml", LIVELY),
    "usual burst": Mutant(r"\b2\.25( +# constant: how many times its usual)", r"0\1", "spike.yml", BURSTY),
    "a spike does not teach": Mutant(r"(burst\[14d\]) offset 3h", r"\1", "spike.yml", BURSTY),
    "count floor of a flatline": Mutant(r">= (12|9) +# constant", ">= 0 # constant", "flatline.yml", SMALL),
    "what is compared agrees": Mutant(
        r"\b4( +# constant: how many times the least)", r"400\1", "gates.yml", FADES
    ),
    "a flatline lasts": Mutant(
        r"or smsc:clicks:expected_median > 0 and last_over.*", "", "flatline.yml", STOPS
    ),
    "one label set for each link": Mutant(rf"{ONE} (.*short_link.*)\) \^", r"\1 ^", "flatline.yml", STOPS),
    "one label set for each unknown link": Mutant(rf"{ONE}(?=\n)", "(", "exporter.yml", UNKNOWN),
    "one label set for each stale link": Mutant(
        rf"{ONE} (.*short_link.*)\) \^", r"\1 ^", "exporter.yml", STUCK
    ),
    "count floor of a shift": Mutant(r"> 3( +# constant: not chance)", r"> 0\1", "shift.yml", SHIFT),
    "steady before a shift": Mutant(r"and smsc:clicks:delta.* offset 1w > 0\.5 .*", "", "shift.yml", SHIFT),
    "many links": Mutant(r">= 5 +# constant", ">= 1 # constant", "many.yml", MANY),
    "share of the links": Mutant(r"\b0\.2( +# constant)", r"0\1", "many.yml", MANY),
    "idle links are no share": Mutant(r"(max by .*expected_median >) 0", r"\1= 0", "many.yml", IDLE),
    "idle links with clicks are": Mutant(r"or max by .*\(smsc:clicks:anomalous\)", "", "many.yml", IDLE),
    "many within a day": Mutant(
        r"(?s)unless \(\n +last_over_time\(smsc:clicks:anomalous.*?\n {10}\)", "", "ended.yml", ENDED
    ),
    "a gap makes none new": Mutant(
        r"last_over_time\((smsc:clicks:anomalous)\[4h\] offset 1d\)", r"\1 offset 1d", "ended.yml", ENDED
    ),
    "one a day ago is another one": Mutant(
        r"and last_over_time\(smsc:clicks:anomalous\[4h\] offset 12h\)", "", "many.yml", AGAIN
    ),
    "many for as long as it lasts": Mutant(
        r"unless \(\n +last_over_time\(smsc:clicks:anomalous_at_once(?s:.*?)\n +\)", "", "ended.yml", ENDED
    ),
    "and no longer": Mutant(r"and on \(job, account, direction\)\n.*ALERTS.*", "", "ended.yml", ENDED),
    "no more than it began with": Mutant(
        r"last_over_time\((smsc:clicks:anomalous)_at_once\[4h\] offset 5m\)", r"\1", "ended.yml", MENDED
    ),
    **{
        f"a scrape that fails: {name}, {where[0]}": Mutant(
            rf"last_over_time\(({name}(?:{{[^}}]*}})?)\[5m\]\)", r"\1", *where
        )
        for where, names in (
            (("exporter.yml", EVERY_FOURTH), SAID_BY_EXPORTERS),
            (("undone.yml", JUST_THEN), SAID_OF_LINKS),
        )
        for name in names
    },
    "an account that keeps a link": Mutant(
        r"< 0\.5( +# constant: share of its links)", r"< 2\1", "exporter.yml", LEFT
    ),
    "links that others have": Mutant(
        r"max by (\(job, account\) \(last_over_time\(smsc_account_links)", r"min by \1", "exporter.yml", LEFT
    ),
    "links there are no more": Mutant(
        r"(max_over_time\(smsc_account_links)\[6h\]", r"\1[5m]", "exporter.yml", LEFT
    ),
    "a scrape that fails: up": Mutant(
        r"max_over_time\((up.*?)\[2m\]\)\) == 0", r"\1) == 0", "exporter.yml", EVERY_FOURTH
    ),
    "no wait of less than nothing": Mutant(r"clamp_min\((.*), 0\)", r"\1", "exporter.yml", BLOCKED),
    "not found is not stale": Mutant(
        r"unless on \(job, account, link\) last_over_time\(smsc_link_failing.*",
        "",
        "exporter.yml",
        UNKNOWN,
    ),
}

YOUNG = {
    "old links are not young": (
        r'unless on \(job, account, link\) last_over_time\(smsc:clicks:expected_median\{window="1h"\}.*',
        "",
        OF_AGE,
    ),
    "the end of a silence": (
        r'unless on .*last_over_time\(smsc:clicks:expected_median\{window="24h"\}.*',
        "",
        OF_AGE,
    ),
    "no death beside a flatline": (r"unless on .*ALERTS\{.*", "", OF_AGE),
    "a campaign of last month": (r">= 0\.25( +# constant: share of an average)", r">= 0.001\1", INSTALLED),
    "a campaign of yesterday": (r"<= 4( +# constant)", r"<= 99\1", INSTALLED),
    "few clicks a day": (r">= 10( +# constant: clicks a day)", r">= 5\1", INSTALLED),
    "sent today": (r">= 30( +# constant: or yesterday)", r">= 20\1", INSTALLED),
    "people who try a link": (r">= 30( +# constant: clicks in all)", r">= 10\1", LAUNCHED),
    "a launch has no hours before": (
        r"and on \(job, account, link\) smsc:young:launched\n( +or min_over)",
        r"\n\1",
        LAUNCHED,
    ),
    "clicks in 20 minutes": (r">= 15( +# constant)", r">= 12\1", LAUNCHED),
    "clicks in an hour": (r">= 9( +# constant: in an hour)", r">= 8\1", CAMPAIGNS),
    "clicks in hours": (r">= 12( +# constant: in hours)", r">= 15\1", CAMPAIGNS),
    "a click among none": (r"0\.02( +# constant: the share)", r"0.001\1", CAMPAIGNS),
    "a click among a few": (r"0\.02( +# constant: the share)", r"0.03\1", CAMPAIGNS),
    "a click within hours": (r"0\.05( +# constant: and within hours)", r"0.02\1", INSTALLED),
    "three hours rise further": (r"\^ 2( +# constant: how often)", r"^ 1\1", CAMPAIGNS),
    "the first day": (r"or max by \(job, account\) \(smsc:young:all_time\) \^ 0", "", RETURNS),
    "the best hour of what comes back": (r"0\.25( +# constant: share of the best)", r"0.01\1", CAMPAIGNS),
    "the account's links say nothing of it": (r"unless smsc:young:resumed\n", "\n", CAMPAIGNS),
    "clicks that tell": (r">= 10( +# constant: clicks an hour that tell)", r">= 8\1", CAMPAIGNS),
    "silent for three hours": (
        r'(min_over_time\(smsc:young:delta\{window=")3h("\}\[2h\])',
        r"\g<1>24h\2",
        CAMPAIGNS,
    ),
    "growth, at least": (r"\b0\.5(, +# constant: growth)", r"0.01\1", CAMPAIGNS),
    "growth, at most": (r"\b1\.5( +# constant: growth)", r"9\1", RETURNS),
    "one hour may be low": (r"\b1\.5( +# constant: times the last hour)", r"3\1", RETURNS),
    "it fades fast": (r"< 0\.7(, +# constant: share of the three hours)", r"< 0.3\1", RETURNS),
    "four hours after a launch": (r"(smsc:young:all_time offset) 4h", r"\1 1h", LAUNCHED),
    "an old reading": (r"<= 300( +# constant: seconds)", r"<= 900\1", CAMPAIGNS),
    "times what is expected": (r"\b3\.5( +# constant: how many times)", r"3\1", CAMPAIGNS),
    "deviations of a campaign": (
        r"\b3( +# constant: standard deviations\n.*young:expected)",
        r"2\1",
        CAMPAIGNS,
    ),
    "clicks of a campaign": (r"\b16( +# constant)", r"12\1", CAMPAIGNS),
    "times what is usual": (r"\b3( +# constant: how many times the usual)", r"4\1", INSTALLED),
    "deviations of others": (r"\b3( +# constant: standard deviations, as)", r"2\1", INSTALLED),
    "clicks of others": (r"\b12( +# constant: clicks that are never)", r"16\1", INSTALLED),
    "a good hour": (r"\b0\.07( +# constant)", r"0.1\1", INSTALLED),
    "an hour's time of day": (r"\b0\.7( +# constant: what the time of day)", r"0.6\1", CAMPAIGNS),
    "three hours' time of day": (r"\b0\.4( +# constant: and of three)", r"0.3\1", CAMPAIGNS),
    "yesterday's six hours": (r"\b0\.5( +# constant: what is left)", r"0.4\1", EVERGREEN),
    "the six worst hours": (r"\b0\.03( +# constant)", r"0.02\1", EVERGREEN),
    "a bad day": (r"\b0\.5( +# constant: share of a day on)", r"0.4\1", EVERGREEN),
    "a link that died yesterday": (
        r"smsc:young:yesterday offset 1d > smsc:young:yesterday or ",
        "",
        EVERGREEN,
    ),
    "a campaign that ended": (r"and smsc:young:earlier.*\n.*", "", INSTALLED),
    "sent just before midnight": (r"min_over_time\((smsc:young:yesterday)\[6h\]\)", r"\1", INSTALLED),
    "yesterday, of evergreen links": (
        r'(delta\{window="6h"\} offset 24h >= 0)\n +and on .*evergreen_day',
        r"\1",
        EVERGREEN,
    ),
    "a link that was dead comes back": (
        r"unless on .*present_over_time\(smsc:young:dead\[6h\]\)",
        "",
        RETURNS,
    ),
    "dead until a click comes": (r"last_over_time\(smsc:young:dead\[30m\].*", "smsc:young:dead", RETURNS),
    "dead over an outage": (r'(smsc:clicks:delta\{window="1h"\})\[4h\]\) == 0', r"\1[6m]) == 0", RETURNS),
    "dead no longer": (r'(delta\{window="1h"\}\[4h\]\)) == 0', r"\1 >= 0", RETURNS),
}
"""What guards against a false alert on a young link, as above: a pattern, its replacement, and a test."""

MUTANTS |= {
    f"young: {name}": Mutant(guard, replacement, "aged.yml" if test == OF_AGE else "young.yml", test)
    for name, (guard, replacement, test) in YOUNG.items()
}

SHOWN = {
    guard: rule
    for rule, guards in {
        "smsc:clicks:delta": (
            "no delta over a break",
            "a fall is a break",
            "freshness gate",
            "a return is a break",
            "a lower counter is a break",
            "another link is a break",
            "given back at once",
            "another exporter of a link is no other link",
            "the same link after an outage is no other",
            "another link after days",
            "another link, where a replica still has the old one",
        ),
        "smsc:clicks:broken": ("an older reading is no break",),
        "smsc:clicks:expected_median": (
            "a link that is away is no other one",
            "of another link nothing is to be expected",
            "another link, 2w ago",
        ),
        "smsc:clicks:expected": (
            "nor where it is compared with last week",
            "another link, 1w ago",
            "the same link is expected on",
        ),
        "SmscYoungLinkDead": (
            "young: yesterday, of evergreen links",
            "young: dead until a click comes",
            "young: dead over an outage",
            "young: dead no longer",
            "young: old links are not young",
            "young: the end of a silence",
            "young: clicks in an hour",
            "young: a click among none",
            "young: a click among a few",
            "young: clicks in hours",
            "young: people who try a link",
            "young: a launch has no hours before",
            "young: clicks in 20 minutes",
            "young: four hours after a launch",
            "young: a click within hours",
            "young: a campaign that ended",
            "young: a campaign of last month",
            "young: a campaign of yesterday",
        ),
        "SmscYoungLinkSurge": (
            "young: few clicks a day",
            "young: sent today",
            "young: a link that was dead comes back",
            "young: the best hour of what comes back",
            "young: the account's links say nothing of it",
            "young: silent for three hours",
        ),
        "smsc:young:surge_bound": (
            "young: times what is expected",
            "young: deviations of a campaign",
            "young: clicks of a campaign",
            "young: times what is usual",
            "young: a good hour",
            "young: deviations of others",
            "young: clicks of others",
        ),
        "smsc:young:floor": (
            "young: a link that died yesterday",
            "young: yesterday's six hours",
            "young: the six worst hours",
            "young: a bad day",
            "young: the first day",
            "young: an hour's time of day",
            "young: three hours' time of day",
            "young: three hours rise further",
        ),
        "smsc:young:growth": (
            "young: growth, at most",
            "young: clicks that tell",
            "young: growth, at least",
        ),
        "smsc:young:delta": ("young: an old reading",),
        "smsc:young:pace": (
            "young: one hour may be low",
            "young: it fades fast",
        ),
        "smsc:young:launched": ("young: sent just before midnight",),
    }.items()
    for guard in guards
}
"""The first rule of which a test expects something else without a guard, where many rules follow it."""

WAITS = {
    "SmscYoungLinkDead-warning": ("young.yml", CAMPAIGNS),
    "SmscYoungLinkSurge-info": ("young.yml", CAMPAIGNS),
    "SmscLinkClickSpike-warning": ("spike.yml", BURSTY),
    "SmscLinkClicksFlatline-warning": ("flatline.yml", STOPS),
    "SmscExporterFlapping-critical": ("exporter.yml", COMES_AND_GOES),
    "SmscExporterFlapping-warning": ("exporter.yml", ONE_OF_TWO),
    "SmscAccountNotExported-critical": ("exporter.yml", TAKEN_OUT),
    "SmscExporterHindered-warning": ("exporter.yml", ONE_READS),
    "SmscLinkTrafficShift-info": ("shift.yml", SHIFT),
    "SmscExporterDown-critical": ("exporter.yml", "an exporter that is down"),
    "SmscExporterDown-warning": ("exporter.yml", "one of two replicas is down"),
    "SmscStorageDown-warning": ("exporter.yml", "storage fails on one of two replicas"),
    "SmscConfigReloadFailed-warning": ("exporter.yml", "a configuration is refused, and then mended"),
    "SmscAccountUnauthorized-critical": ("exporter.yml", REFUSED),
    "SmscAccountBlocked-critical": ("exporter.yml", BLOCKED),
    "SmscAccountUnreachable-warning": ("exporter.yml", OUT_OF_REACH),
    "SmscAccountThrottled-warning": ("exporter.yml", "throttled for long, and now and then"),
    "SmscAccountLinksGone-warning": ("exporter.yml", LEFT),
    "SmscPollingLagging-warning": ("exporter.yml", "links are read late"),
    "SmscLinkNotFound-warning": ("exporter.yml", UNKNOWN),
    "SmscLinkDataStale-warning": ("exporter.yml", STUCK),
}
"""For each alert that waits (``for``): which test fails once it does not."""

KEPT = {
    "SmscYoungLinkDead-warning": ("young.yml", RETURNS),
    "SmscYoungLinkSurge-info": ("young.yml", RETURNS),
    "SmscLinkClickSpike-warning": ("spike.yml", BURSTY),
    "SmscLinkClicksFlatline-warning": ("flatline.yml", STOPS),
    "SmscLinkAllTimeClicksFell-info": ("fell.yml", TAKEN_BACK),
    "SmscAccountUnauthorized-critical": ("exporter.yml", REFUSED),
    "SmscAccountBlocked-critical": ("exporter.yml", BLOCKED),
    "SmscAccountUnreachable-warning": ("exporter.yml", OUT_OF_REACH),
    "SmscExporterFlapping-critical": ("exporter.yml", COMES_AND_GOES),
    "SmscExporterFlapping-warning": ("exporter.yml", ONE_OF_TWO),
    "SmscExporterDown-critical": ("exporter.yml", "an exporter that is down"),
    "SmscExporterDown-warning": ("exporter.yml", "one of two replicas is down"),
    "SmscAccountNotExported-critical": ("exporter.yml", TAKEN_OUT),
}
"""For each alert that fires on (``keep_firing_for``): which test fails once it does not."""


TESTS = [(file, test["name"]) for file, written in WRITTEN.items() for test in written["tests"]]


LONGEST = {"aged.yml", "renamed.yml", "shift.yml"}
"""Their tests begin first."""


@pytest.mark.parametrize(
    ("file", "test"), [pytest.param(*each, marks=pytest.mark.slow(int(each[0] in LONGEST))) for each in TESTS]
)
def test_the_rules_do_what_a_test_expects_and_it_fails_without_what_guards_them(
    file: str, test: str, tmp_path: Path
) -> None:
    assert unnoticed(tmp_path, file, test, _changes(file, test), SHOWN) == []


def _changes(file: str, test: str) -> dict[str, Documents]:
    """The changed rules that a test has to notice, by what is missing in them."""
    changes = {
        guard: _replaced(mutant)
        for guard, mutant in MUTANTS.items()
        if (mutant.file, mutant.test) == (file, test)
    }
    for key, alerts in (("for", WAITS), ("keep_firing_for", KEPT)):
        changes |= {
            f"{key} of {alert}": _without(key, alert)
            for alert, place in alerts.items()
            if place == (file, test)
        }
    return changes


def _replaced(mutant: Mutant) -> Documents:
    changed = {name: re.sub(mutant.guard, mutant.replacement, text) for name, text in RULE_TEXTS.items()}
    assert changed != RULE_TEXTS, f"{mutant.guard} is not where it was"
    return {name: parse(text) for name, text in changed.items()}


def _without(key: str, alert: str) -> Documents:
    """The shipped rules; that one alert does not have the key."""
    documents = shipped()
    (rule,) = (rule for rule in all_rules(documents) if "alert" in rule and label(rule) == alert)
    del rule[key]
    return documents


def test_every_guard_has_a_test() -> None:
    assert set(SHOWN) - set(MUTANTS) == set()
    places = {(mutant.file, mutant.test) for mutant in MUTANTS.values()} | {*WAITS.values(), *KEPT.values()}
    assert places - set(TESTS) == set()


@pytest.mark.parametrize(("key", "known"), [("for", WAITS), ("keep_firing_for", KEPT)])
def test_no_wait_is_left_out(key: str, known: dict[str, tuple[str, str]]) -> None:
    assert {label(alert) for alert in ALERTS if key in alert} == set(known)
