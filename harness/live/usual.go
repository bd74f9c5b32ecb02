package live

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"

	"backout/harness/evidence"
	"backout/harness/report"
)

const (
	runsAsked  = 5       // of the same drill, the newest
	logsOpened = 40      // to find them
	mostLog    = 8 << 20 // bytes of a log that is read for it: the drill runs meanwhile
)

// usually is how long the parts of a drill took in earlier runs below a folder, by their medians. Own is the set that runs now.
func usually(earlier, own string, run *evidence.Run) report.Usual {
	u := report.Usual{Phases: map[string]float64{}, Steps: map[int]float64{}}
	if earlier == "" {
		return u
	}
	var runs []string
	sets, _ := os.ReadDir(earlier) // without earlier runs nothing is usual
	for _, set := range sets {
		found, _ := evidence.Folders(filepath.Join(earlier, set.Name()))
		runs = append(runs, found...)
	}
	slices.SortFunc(runs, func(a, b string) int { return cmp.Compare(b, a) }) // folders begin with the time
	phases, steps := map[string][]float64{}, map[int][]float64{}
	opened := 0
	for _, dir := range runs {
		path := filepath.Join(dir, evidence.File)
		if rel, err := filepath.Rel(own, path); err == nil && filepath.IsLocal(rel) {
			continue
		}
		if info, err := os.Stat(path); err != nil || info.Size() > mostLog {
			continue
		}
		if opened++; opened > logsOpened || u.Runs == runsAsked {
			break
		}
		if lengths(path, run, phases, steps) {
			u.Runs++
		}
	}
	for name, all := range phases {
		u.Phases[name] = median(all)
	}
	for i, all := range steps {
		u.Steps[i] = median(all)
	}
	return u
}

// lengths adds how long the parts of a run took, if it is a whole run of the same drill.
func lengths(path string, run *evidence.Run, phases map[string][]float64, steps map[int][]float64) bool {
	took, ran := map[string]float64{}, map[int]float64{}
	at, since, begun, complete := "", 0.0, map[int]float64{}, false
	for e, err := range evidence.Read(path) {
		switch {
		case err != nil:
			return false
		case e.Run != nil:
			if e.Run.Path != run.Path || e.Run.Name != run.Name || e.Run.Environment != run.Environment || e.Run.Plan.Path != run.Plan.Path || e.Run.Windows != run.Windows {
				return false
			}
		case e.Phase != nil:
			if at != "" {
				took[at] = float64(e.T) - since
			}
			at, since = e.Phase.Name, float64(e.T)
		case e.Step != nil && e.Step.Part == evidence.PartStep && e.Step.By == "":
			if e.Step.Event == "started" {
				begun[e.Step.Index] = float64(e.T)
			} else if from, ok := begun[e.Step.Index]; ok && e.Step.Event == "ended" {
				ran[e.Step.Index] = float64(e.T) - from
			}
		case e.Approval != nil:
			return false // people took time in it
		case e.End != nil:
			took[at] = float64(e.T) - since
			complete = e.End.How == "complete"
		}
	}
	if !complete {
		return false
	}
	for name, t := range took {
		phases[name] = append(phases[name], t)
	}
	for i, t := range ran {
		steps[i] = append(steps[i], t)
	}
	return true
}

func median(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}
