package verdict

// check is one promise that can be judged.
type check struct {
	name    string
	always  bool                  // it holds in every drill, said or not; the others when stated or when the service declares such a thing
	applies func(*judging) string // empty: it does; else why not
	rests   []string              // the assumptions without which nothing can be said
	judge   func(*judging) result //
	remedy  string                // what to do when it is broken, where the judgement says nothing better
}

// result of a check that applies.
type result struct {
	state    string // Kept, Broken, Unjudged
	finding  string
	details  []string
	evidence []int64
	remedy   string
}

// checks is the list. Its order is the order in every report; its names never change. PromiseList counts its versions.
func checks() []check {
	users := []string{RateReached, BaselineSteady, ObservationWithout, FaultInForce}
	return []check{
		{Restored, true, always, users, isRestored,
			"Add to the plan what the finding names, or mend the step that should do it."},
		{RestoredInTime, true, hasTarget, append([]string{ReleaseReached, HarmSeen, TrapThere}, users...), isInTime,
			"Shorten the longest step of the plan, or state a longer target for the service."},
		{InstancesServe, true, hasInstances, []string{ObservationWithout}, instancesServe,
			"Make the plan deploy the target release to every instance and wait until each says so."},
		{NodesHaveSchema, true, hasNodes, []string{NodesRead}, nodesHaveSchema,
			"DDL is not replicated logically: run the step on that node as well, removals on the primary first and additions on the subscriber first."},
		{NodesHoldSameRows, true, hasReplicas, []string{NodesRead}, nodesHoldSameRows,
			"Repair replication to that node: refresh the subscription or build the replica anew, then compare again."},
		{FrozenUnchanged, true, hasFrozen, []string{NodesRead}, frozenUnchanged,
			"Make the rollback restore the data, not the column alone: keep what the release takes away until nobody needs it."},
		{WritesExactlyOnce, true, hasWrites, nil, writesExactlyOnce,
			"Keep what was written while the release ran: migrate it back in the rollback instead of dropping it."},
		{EffectsExactlyOnce, false, hasEffects, nil, effectsExactlyOnce,
			"Give the effect an idempotency key, and let the rollback neither replay nor drop what is queued."},
		{NothingResurrected, true, hasCancelled, nil, nothingResurrected,
			"Do not restore rows from a copy without replaying what was taken back since."},
		{NoPhantoms, true, hasWrites, nil, noPhantoms,
			"Find out who wrote the rows that the finding names, and remove them."},
		{ReferencesLead, true, hasNodes, []string{NodesRead}, referencesLead,
			"Delete or repair the rows that lead nowhere, and restore the tables of a reference in one transaction."},
		{InvariantsHold, true, hasInvariants, []string{NodesRead}, invariantsHold,
			"Make the rollback write what the invariant needs, and repair the rows that the finding names."},
		{SequencesAhead, true, hasNodes, []string{NodesRead}, sequencesAhead,
			"Set the sequence to the column's maximum in the same step that restores the table."},
		{MigrationsMatch, true, hasMigrations, []string{NodesRead}, migrationsMatch,
			"Let the Down undo what the Up did: the version row went, the objects stayed, or the other way round."},
		{JobsDone, false, hasJobs, nil, jobsDone,
			"Drain or convert the queued jobs in the plan before the old code meets them."},
		{CachesReadable, false, hasCaches, []string{ObservationWithout}, cachesReadable,
			"Purge or convert the entries once the old code runs everywhere: until then the release that is rolled back fills the cache again."},
		{SessionsAccepted, false, hasSessions, nil, sessionsAccepted,
			"Let the old release accept what the new one gave out, or end those sessions on purpose in the plan."},
		{DependantsWork, false, hasDependants, nil, dependantsWork,
			"Roll the dependant back first, or keep what it needs until it no longer does."},
		{PlanAsWritten, true, hasPlan, nil, planAsWritten,
			"Mend the step that the finding names and run the drill again."},
		{LatencyBack, true, isAlone, []string{RateReached, BaselineSteady, ObservationWithout}, latencyBack,
			"Look for what the rollback left slow: cold caches, missing statistics, an index that was not built again."},
		{NothingLeft, true, always, nil, nothingLeft,
			"Let the last step of the plan remove what the finding names."},
		{PlanRefused, false, mustRefuse, nil, planRefused,
			"Make the pre-check stop the plan before its first step."},
		{StaysRestored, false, hasHerd, users, staysRestored,
			"Take back whatever spared the service in the plan's last step, and keep the capacity that clients who come back at once need."},
		{SecondRefused, false, hasSecond, nil, secondRefused,
			"Let nothing but its holder remove the lock's file, and take the lock before anything else."},
		{BreakerTrips, false, promised(BreakerTrips), []string{HarmSeen, ObservationWithout}, breakerTrips,
			"Set the breaker's rules so that what the release does trips them: a lower share, fewer failures, a shorter stretch."},
		{BreakerQuiet, false, promised(BreakerQuiet), []string{ObservationWithout}, breakerQuiet,
			"Set the breaker's rules above what is usual: a higher share, more failures, a longer stretch."},
		{NoForbiddenMix, false, hasForbidden, []string{ObservationWithout}, noForbiddenMix,
			"Turn the steps round, or put a barrier between them: what the finding names must not serve together."},
		{ServicesServe, false, hasTogether, []string{ObservationWithout}, servicesServe,
			"Give the plan a step for each service that the release changed, and let nothing go on without it."},
		{TakenBack, false, mustGiveUp, nil, takenBack,
			"Mend what takes back the step that the finding names: it must work on a step that was done and on one that was half done."},
		{WithinCeiling, false, hasCeiling, nil, withinCeiling,
			"Let the plan touch what has the bad release alone, or raise its ceiling with a reason."},
		{FirstNotice, false, promised(FirstNotice), nil, firstNotice,
			"Tell people when it is known that something is wrong, not when it is mended: tell_first: at once."},
		{UpdatesInTime, false, promised(UpdatesInTime), nil, updatesInTime,
			"Shorten the interval of updates, also when there is nothing new to tell."},
		{NoEarlyAllClear, false, promised(NoEarlyAllClear), nil, noEarlyAllClear,
			"Give the all-clear when service has stayed restored and nothing residual is open: all_clear: when nothing is open."},
		{MessagesArrive, false, promised(MessagesArrive), nil, messagesArrive,
			"Mend the channel that the finding names, and give people a second one beside it."},
		{HandedOver, false, hasReceiver, nil, handedOver,
			"Find somebody who takes the incident over: until then it is not resolved."},
	}
}

// Names of all checks in the order of the list.
func Names() []string {
	var names []string
	for _, c := range checks() {
		names = append(names, c.name)
	}
	return names
}

func always(*judging) string { return "" }

func hasTarget(j *judging) string {
	if j.limit() <= 0 {
		return "no time is promised"
	}
	return ""
}

func hasInstances(j *judging) string {
	return unless(len(j.run.Instances) > 0 || j.run.Replicas > 0, "the service has no instances")
}

func hasNodes(j *judging) string {
	return unless(len(j.run.Nodes) > 0, "the service has no database")
}

func hasMigrations(j *judging) string {
	if len(j.run.Nodes) == 0 {
		return hasNodes(j)
	}
	return unless(!j.run.Service.Unrecorded, "no tool records which migrations were applied")
}

func hasReplicas(j *judging) string {
	if len(j.run.Nodes) == 0 {
		return hasNodes(j)
	}
	return unless(len(j.run.Nodes) > 1, "there is one node only")
}

func hasFrozen(j *judging) string {
	return unless(len(j.run.Service.Frozen) > 0, "the service declares no frozen rows")
}

func hasWrites(j *judging) string {
	return unless(len(j.run.Service.Writes) > 0 || j.tally.seen > 0, "no journey of the service writes")
}

func hasEffects(j *judging) string {
	return unless(len(j.run.Service.Effects) > 0, "the service declares no effects")
}

func hasCancelled(j *judging) string {
	if why := hasWrites(j); why != "" {
		return why
	}
	return unless(j.tally.cancelled > 0 || j.tally.resurrected > 0, "no write was taken back")
}

func hasInvariants(j *judging) string {
	return unless(len(j.run.Service.Invariants) > 0, "the service declares no invariants")
}

func hasJobs(j *judging) string {
	return unless(len(j.run.Service.Jobs) > 0, "the service declares no jobs")
}

func hasCaches(j *judging) string {
	return unless(len(j.run.Service.Caches) > 0, "the service declares no caches")
}

func hasSessions(j *judging) string {
	return unless(len(j.run.Service.Sessions) > 0, "the service declares no sessions")
}

func hasDependants(j *judging) string {
	return unless(len(j.run.Dependants) > 0, "no dependant takes part")
}

func hasPlan(j *judging) string { return unless(len(j.run.Plan.Steps) > 0, "the plan has no steps") }

func isAlone(j *judging) string { return unless(j.run.Alone, "not alone") }

func mustRefuse(j *judging) string {
	return unless(j.refuses() != "", "the plan is not expected to refuse")
}

func mustGiveUp(j *judging) string { return unless(j.givesUp(), "the plan is not expected to give up") }

func hasTogether(j *judging) string {
	return unless(len(j.run.Together) > 0, "no other service is rolled back together with it")
}

func hasHerd(j *judging) string { return unless(j.run.Herd != nil, "nobody comes back") }

func hasSecond(j *judging) string {
	return unless(j.run.Second != nil, "nobody else starts the rollback")
}

func hasForbidden(j *judging) string {
	return unless(len(j.mixes()) > 0, "service.yaml forbids no mix of these releases")
}

func hasCeiling(j *judging) string {
	return unless(len(j.run.Plan.Ceiling) > 0, "the plan states no ceiling")
}

func unless(ok bool, why string) string {
	if ok {
		return ""
	}
	return why
}
