package local

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"cyclone/pkg/cyclone"
)

const (
	lastName    = "last.json"
	outputsName = "outputs"
)

// Last is what the last local run of a repository has left for one that begins
// at a later stage: which images the engine has of it, and the outputs of
// pre_build.
type Last struct {
	dir     string
	pending string // folder for outputs of the run that is under way
	known   lastRun
}

// lastRun is what the file says.
type lastRun struct {
	Event   cyclone.EventID      `json:"event"`
	Images  []cyclone.BuildImage `json:"images"`
	Outputs []cyclone.File       `json:"outputs"`
	// PreBuilt is the event whose pre_build succeeded last; empty for none.
	PreBuilt cyclone.EventID `json:"preBuilt"`
}

// Folder is where a repository's things are kept between runs, below a folder
// of the person's (os.UserCacheDir).
func Folder(caches, root string) string {
	sum := sha256.Sum256([]byte(root))
	return filepath.Join(caches, "cyclone", hex.EncodeToString(sum[:10]))
}

// OpenLast reads what was left in a folder, which need not be there.
func OpenLast(dir string) (*Last, error) {
	l := &Last{dir: dir}
	text, err := os.ReadFile(filepath.Join(dir, lastName))
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err == nil && json.Unmarshal(text, &l.known) != nil {
		l.known = lastRun{} // of another version, or cut off: as if there was none
	}
	if err != nil {
		return nil, fmt.Errorf("read what the last run left: %w", err)
	}
	return l, nil
}

// image is the image of a build; false when no run is known to have built it.
func (l *Last) image(build string) (cyclone.BuildImage, bool) {
	if l == nil {
		return cyclone.BuildImage{}, false
	}
	i := slices.IndexFunc(l.known.Images, func(b cyclone.BuildImage) bool { return b.Build == build })
	if i < 0 {
		return cyclone.BuildImage{}, false
	}
	return l.known.Images[i], true
}

// begin makes the folder for the outputs of a run that is under way.
func (l *Last) begin() (string, error) {
	if l.pending == "" {
		if err := os.MkdirAll(l.dir, 0o700); err != nil {
			return "", err
		}
		dir, err := os.MkdirTemp(l.dir, outputsName+"-")
		if err != nil {
			return "", err
		}
		l.pending = dir
	}
	return l.pending, nil
}

// output opens an output of the last run.
func (l *Last) output(name string) (io.ReadCloser, error) {
	f, err := os.OpenInRoot(filepath.Join(l.dir, outputsName), name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, cyclone.NotFound("the last local run has kept no outputs of %s", name)
	}
	return f, err
}

// Keep notes what a run has left that is over. What a stage made that did not
// run, or did not succeed, stays as it was.
func (l *Last) Keep(event cyclone.EventID, r cyclone.Report) error {
	succeeded := func(name cyclone.Stage) bool {
		return slices.ContainsFunc(r.Stages, func(s cyclone.StageState) bool {
			return s.Name == name && s.Status == cyclone.StatusSuccess
		})
	}
	changed := false
	if succeeded(cyclone.StagePreBuild) {
		if err := l.keepOutputs(); err != nil {
			return fmt.Errorf("keep outputs for the next run: %w", err)
		}
		l.known.PreBuilt, changed = event, true
	}
	if succeeded(cyclone.StageBuild) {
		l.known.Images, changed = r.Images, true
	}
	l.drop()
	if !changed {
		return nil
	}
	l.known.Event = event
	text, err := json.Marshal(l.known)
	if err != nil {
		return fmt.Errorf("keep what the run left: %w", err)
	}
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return fmt.Errorf("keep what the run left: %w", err)
	}
	next := filepath.Join(l.dir, lastName+".new")
	if err := errors.Join(os.WriteFile(next, text, 0o600), os.Rename(next, filepath.Join(l.dir, lastName))); err != nil {
		return fmt.Errorf("keep what the run left: %w", err)
	}
	return nil
}

// keepOutputs puts the outputs of the run in the place of the last one's.
func (l *Last) keepOutputs() error {
	place := filepath.Join(l.dir, outputsName)
	if err := os.RemoveAll(place); err != nil {
		return err
	}
	l.known.Outputs = nil
	if l.pending == "" {
		return nil
	}
	if err := os.Rename(l.pending, place); err != nil {
		return err
	}
	l.pending = ""
	return filepath.WalkDir(place, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name := filepath.ToSlash(strings.TrimPrefix(p, place+"/"))
		l.known.Outputs = append(l.known.Outputs, cyclone.File{
			Kind: cyclone.FileOutput, Path: name, Stage: cyclone.StagePreBuild, Step: name, Size: cyclone.Size(info.Size()),
		})
		return nil
	})
}

// drop removes the outputs of a run that did not get through pre_build.
func (l *Last) drop() {
	if l.pending != "" {
		_ = os.RemoveAll(l.pending) // of no use to anybody; the next run does not look at it
		l.pending = ""
	}
}
