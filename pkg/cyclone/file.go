package cyclone

import (
	"context"
	"io"
	"strings"
	"time"
)

// FileKind says what a kept file is for.
type FileKind string

// The kinds of kept files. Artifacts are for people; a report is a TestReport
// of one step in JSON, under the name "<stage>/<step>.json"; an output is a
// zstd-compressed tar of what one step of pre_build left for Build, under the
// step's name, with paths counted from the root of the source tree.
const (
	FileArtifact FileKind = "artifact"
	FileReport   FileKind = "report"
	FileOutput   FileKind = "output"
)

// File is a file that is kept with an event.
type File struct {
	Event EventID  `json:"-"`
	Kind  FileKind `json:"kind"`
	// Path is relative, clean and unique within the event's files of a kind;
	// see ValidFilePath.
	Path      string    `json:"path"`
	Stage     Stage     `json:"stage"`
	Step      string    `json:"step"`
	Size      Size      `json:"size"`   // bytes
	SHA256    string    `json:"sha256"` // of the content, in hexadecimal
	CreatedAt time.Time `json:"createdAt"`
}

// Check returns ErrInvalid when f cannot be kept: it belongs to no event, is of
// no known kind, or has a path that ValidFilePath refuses.
func (f File) Check() error {
	bad := &InvalidError{}
	if f.Event == "" || strings.Contains(string(f.Event), "/") {
		bad.Add("event", "%q is not the id of an event", f.Event)
	}
	switch f.Kind {
	case FileArtifact, FileReport, FileOutput:
	default:
		bad.Add("kind", "is %q; it must be %s, %s or %s", f.Kind, FileArtifact, FileReport, FileOutput)
	}
	if !ValidFilePath(f.Path) {
		bad.Add("path", "%.200q cannot name a file; it must be relative, without . and .. in it, printable and no longer than %d bytes", f.Path, maxFilePath)
	}
	return bad.OrNil()
}

// FileStore keeps files with events.
type FileStore interface {
	// Put stores the content, over a file of the same event, kind and path,
	// and returns the file with size and sum, and CreatedAt where that was
	// zero. Nobody sees it before it is complete; when content fails, nothing
	// has changed. Whoever has the old content open reads it to its end.
	// ErrInvalid when f.Check fails. Whether there is such an event is not
	// looked at: what is put after the event was deleted stays until Delete.
	Put(ctx context.Context, f File, content io.Reader) (File, error)
	// Open returns a file and its content; ErrNotFound when there is none.
	// The content is read within ctx, too.
	Open(ctx context.Context, event EventID, kind FileKind, path string) (File, io.ReadSeekCloser, error)
	// List returns the event's files of a kind by path; of all kinds, by kind
	// and then by path, when it is empty.
	List(ctx context.Context, event EventID, kind FileKind) ([]File, error)
	// Delete removes all files of an event; none is no error.
	Delete(ctx context.Context, event EventID) error
}
