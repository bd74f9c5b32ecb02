package verdict

// The names of the checks. A feature says them, history compares them: they are never renamed.
const (
	Restored           = "service is restored"
	RestoredInTime     = "service is restored in time"
	InstancesServe     = "every instance serves the target release"
	NodesHaveSchema    = "every node has the schema of before"
	NodesHoldSameRows  = "every node holds the same rows"
	FrozenUnchanged    = "rows that nobody touched are unchanged"
	WritesExactlyOnce  = "every acknowledged write exists exactly once"
	EffectsExactlyOnce = "every write had its effects exactly once"
	NothingResurrected = "no write that was taken back is there again"
	NoPhantoms         = "no write appeared that nobody sent"
	ReferencesLead     = "every reference leads somewhere"
	InvariantsHold     = "every invariant holds"
	SequencesAhead     = "every sequence is ahead of its column"
	MigrationsMatch    = "the recorded migrations match the schema"
	JobsDone           = "every job from before is done"
	CachesReadable     = "every cache holds what the release of before can read"
	SessionsAccepted   = "sessions from before are accepted"
	DependantsWork     = "dependants still work"
	PlanAsWritten      = "the plan ran as written"
	LatencyBack        = "latency is back at the baseline's"
	NothingLeft        = "nothing is left behind"
	PlanRefused        = "the plan refused and changed nothing"
	StaysRestored      = "service stays restored when clients come back"
	SecondRefused      = "the second operator is refused and told who holds it"
	BreakerTrips       = "the breaker trips in time"
	NoForbiddenMix     = "no forbidden mix of releases serves"
	WithinCeiling      = "the rollback touches no more than its ceiling"
	BreakerQuiet       = "the breaker stays closed"
	FirstNotice        = "the first notice goes out in time"
	UpdatesInTime      = "nobody waits too long for an update"
	NoEarlyAllClear    = "there is no all-clear while anything is open"
	MessagesArrive     = "everything that is told arrives"
	HandedOver         = "the incident is handed over and accepted"
	ServicesServe      = "every service serves its target release"
	TakenBack          = "what a failed plan had done is taken back"
)

// The names of the assumptions.
const (
	RateReached        = "the scheduled rate was reached in the baseline"
	BaselineSteady     = "the baseline was steady"
	ReleaseReached     = "the release reached what it states"
	HarmSeen           = "the harm was seen"
	TrapThere          = "the trap was there"
	NodesRead          = "every node could be read"
	ObservationWithout = "the observation has no gap where it matters"
	FaultInForce       = "the fault was in force" // only in drills with a fault or a sabotage
)
