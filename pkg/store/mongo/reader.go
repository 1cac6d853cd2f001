package mongo

import (
	"context"
	"errors"
	"fmt"
	"io"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"cyclone/pkg/cyclone"
)

// reader reads a content, of which it holds one piece.
type reader struct {
	ctx  context.Context
	from *contents
	id   string
	what string // for errors
	size int64

	at    int64  // the place of the next byte
	piece []byte // the piece that was read last
	n     int64  // its number
}

// Read reads to the end of a piece at most.
func (r *reader) Read(p []byte) (int, error) {
	if r.at >= r.size {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	if n := r.at / pieceSize; r.piece == nil || n != r.n {
		if err := r.fetch(n); err != nil {
			return 0, err
		}
	}
	k := copy(p, r.piece[r.at%pieceSize:])
	r.at += int64(k)
	return k, nil
}

// fetch reads a piece.
func (r *reader) fetch(n int64) error {
	var doc pieceDoc
	err := surely(r.ctx, func(ctx context.Context) error {
		doc = pieceDoc{}
		return r.from.pieces.FindOne(ctx, byID(pieceID(r.id, n))).Decode(&doc)
	})
	if errors.Is(err, mongo.ErrNoDocuments) {
		return cyclone.NotFound("%s was removed while it was being read", r.what)
	}
	if err != nil {
		return wrap(err, "read %s", r.what)
	}
	if want := min(pieceSize, r.size-n*pieceSize); int64(len(doc.Data)) != want {
		return fmt.Errorf("piece %d of %s has %d bytes instead of %d", n, r.what, len(doc.Data), want)
	}
	r.piece, r.n = doc.Data, n
	return nil
}

// Seek goes to any place, also behind the end.
func (r *reader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.at
	case io.SeekEnd:
		offset += r.size
	}
	if offset < 0 {
		return 0, cyclone.Invalid("offset", "%d is before the beginning", offset)
	}
	r.at = offset
	return offset, nil
}

// Close lets go of the piece.
func (r *reader) Close() error {
	r.piece, r.size = nil, 0
	return nil
}
