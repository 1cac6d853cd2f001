package cyclone

import (
	"context"
	"io"
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

// FileStore keeps files with events.
type FileStore interface {
	// Put stores the content, over a file of the same event, kind and path,
	// and returns the file with size and sum. Nobody sees it before it is
	// complete; when content fails, nothing has changed.
	Put(ctx context.Context, f File, content io.Reader) (File, error)
	// Open returns a file and its content; ErrNotFound when there is none.
	Open(ctx context.Context, event EventID, kind FileKind, path string) (File, io.ReadSeekCloser, error)
	// List returns the event's files of a kind by path; of all kinds when it
	// is empty.
	List(ctx context.Context, event EventID, kind FileKind) ([]File, error)
	// Delete removes all files of an event; none is no error.
	Delete(ctx context.Context, event EventID) error
}
