// Verifies a decision log of Callgate with Go's own transparency log packages, and nothing of Callgate's.
//
//	tlog-verify log DIR KEY          every record that the checkpoint covers, the tiles and the checkpoint; of the oldest
//	                                 that are not there, whether the log says that it has removed them. Records after it,
//	                                 as a server that runs or was killed leaves them, are counted
//	tlog-verify flips DIR KEY        flips every bit of every record's file, one after the other: each must be found
//	tlog-verify proof FILE KEY       a proof that brings its record along (c2sp.org/tlog-proof)
//	tlog-verify extends OLD DIR KEY  that the log extends an older checkpoint
//
// KEY is the file with the verifying key. Prints what was verified, or the first fault, and ends with 1. Records that are not
// there and that the log does not account for are a fault.
package main

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type checkpoint struct {
	size int64
	root tlog.Hash
}

func verifier(file string) (note.Verifier, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return note.NewVerifier(strings.TrimSpace(string(text)))
}

func openCheckpoint(text []byte, key note.Verifier) (checkpoint, error) {
	opened, err := note.Open(text, note.VerifierList(key))
	if err != nil {
		return checkpoint{}, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) < 4 || lines[0] != key.Name() {
		return checkpoint{}, errors.New("not a checkpoint of this log")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return checkpoint{}, err
	}
	root, err := tlog.ParseHash(lines[2])
	return checkpoint{size, root}, err
}

func readCheckpoint(file string, key note.Verifier) (checkpoint, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return checkpoint{}, err
	}
	return openCheckpoint(text, key)
}

// records splits a file of records: their bytes, of which the index is the first field. The first ones, as many as are
// covered, have to be whole; the rest may end in the middle of one that is being written.
func records(file []byte, first int64, covered int) ([][]byte, error) {
	if len(file) < 16 || string(file[:8]) != "CGAUDIT1" || binary.LittleEndian.Uint64(file[8:]) != uint64(first) {
		return nil, errors.New("the header is another")
	}
	var found [][]byte
	for rest := file[16:]; len(rest) > 0; {
		record, size, err := frame(rest)
		if err != nil && len(found) >= covered {
			return found, nil
		}
		if err != nil {
			return nil, err
		}
		found = append(found, record)
		rest = rest[size:]
	}
	return found, nil
}

// frame reads the record at the beginning, and tells how long it is with its head.
func frame(rest []byte) ([]byte, int, error) {
	if len(rest) < 8 {
		return nil, 0, errors.New("an incomplete frame")
	}
	length, sum := binary.LittleEndian.Uint32(rest), binary.LittleEndian.Uint32(rest[4:])
	if uint64(length) > uint64(len(rest)-8) {
		return nil, 0, errors.New("an incomplete frame")
	}
	record := rest[8 : 8+length]
	if crc32.Checksum(record, castagnoli) != sum {
		return nil, 0, errors.New("a checksum is wrong")
	}
	return record, 8 + int(length), nil
}

// compare holds the records of a file against the leaves of the tree, and gives those that have one, and how many have none.
// Only the last file with leaves may have more records than leaves.
func compare(file []byte, first int64, leaves []tlog.Hash, isLast bool) ([][]byte, int, error) {
	covered := len(leaves)
	if !isLast {
		covered = math.MaxInt
	}
	found, err := records(file, first, covered)
	if err != nil {
		return nil, 0, err
	}
	if len(found) < len(leaves) || len(found) > len(leaves) && !isLast {
		return nil, 0, fmt.Errorf("%d records instead of %d", len(found), len(leaves))
	}
	for i, leaf := range leaves {
		if tlog.RecordHash(found[i]) != leaf {
			return nil, 0, fmt.Errorf("record %d is another", first+int64(i))
		}
	}
	return found[:len(leaves)], len(found) - len(leaves), nil
}

// tiles reads the tiles of a directory. Their paths there have no height, as C2SP tlog-tiles wants it.
type tiles string

func (dir tiles) Height() int { return 8 }

func (dir tiles) SaveTiles([]tlog.Tile, [][]byte) {}

func (dir tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var read [][]byte
	for _, tile := range wanted {
		path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		data, err := os.ReadFile(filepath.Join(string(dir), path))
		if err != nil && tile.W < 256 {
			full := tile
			full.W = 256
			path = strings.Replace(full.Path(), "tile/8/", "tile/", 1)
			data, err = os.ReadFile(filepath.Join(string(dir), path))
			if err == nil {
				data = data[:tile.W*tlog.HashSize]
			}
		}
		if err != nil {
			return nil, err
		}
		read = append(read, data)
	}
	return read, nil
}

func reader(dir string, at checkpoint) tlog.HashReader {
	return tlog.TileHashReader(tlog.Tree{N: at.size, Hash: at.root}, tiles(filepath.Join(dir, "tree")))
}

// leaves reads the leaves of the tree; the reader verifies every tile against the root.
func leaves(dir string, at checkpoint) ([]tlog.Hash, error) {
	var indexes []int64
	for n := int64(0); n < at.size; n++ {
		indexes = append(indexes, tlog.StoredHashIndex(0, n))
	}
	return reader(dir, at).ReadHashes(indexes)
}

type segment struct {
	first   int64
	content []byte
}

func segments(dir string) ([]segment, error) {
	packed, err := filepath.Glob(filepath.Join(dir, "segments", "*.log.zst"))
	if err != nil {
		return nil, err
	}
	for _, path := range packed {
		if _, err := os.Stat(strings.TrimSuffix(path, ".zst")); err != nil {
			return nil, fmt.Errorf("%s is compressed: decompress it first (zstd -d)", filepath.Base(path))
		}
	}
	paths, err := filepath.Glob(filepath.Join(dir, "segments", "*.log"))
	if err != nil {
		return nil, err
	}
	sort.Strings(paths)
	var found []segment
	for _, path := range paths {
		first, err := strconv.ParseInt(strings.TrimSuffix(filepath.Base(path), ".log"), 10, 64)
		if err != nil {
			return nil, err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		found = append(found, segment{first, content})
	}
	return found, nil
}

// fields calls each with the fields of a protocol buffers message, and what it holds: a number or bytes.
func fields(message []byte, each func(field int, number uint64, bytes []byte)) error {
	broken := errors.New("a record is no message")
	for len(message) > 0 {
		tag, n := binary.Uvarint(message)
		if n <= 0 {
			return broken
		}
		message = message[n:]
		var number uint64
		var content []byte
		length := uint64(0)
		switch tag & 7 {
		case 0:
			if number, n = binary.Uvarint(message); n <= 0 {
				return broken
			}
			message = message[n:]
		case 1:
			length = 8
		case 2:
			if length, n = binary.Uvarint(message); n <= 0 {
				return broken
			}
			message = message[n:]
		case 5:
			length = 4
		default:
			return broken
		}
		if length > uint64(len(message)) {
			return broken
		}
		content, message = message[:length], message[length:]
		each(int(tag>>3), number, content)
	}
	return nil
}

// notice is what a record says of other records; only its kind, if it says of none.
type notice struct {
	kind, first, last uint64
	what              string
}

// noticeOf reads the notice of a record.
func noticeOf(record []byte) (notice, error) {
	var found notice
	var inner error
	err := fields(record, func(field int, _ uint64, content []byte) {
		if field != 7 {
			return
		}
		inner = fields(content, func(field int, number uint64, bytes []byte) {
			switch field {
			case 1:
				found.kind = number
			case 2:
				found.what = string(bytes)
			case 4:
				found.first = number
			case 5:
				found.last = number
			}
		})
	})
	return found, errors.Join(err, inner)
}

// verifyRemoved tells whether the records before the first file are those that the log says it has removed, in records that
// the checkpoint covers: what says so without a signature may have been written by anybody. Nor does a notice count that a later
// one says was found without a signature. The oldest are removed first, so all before a notice's last are accounted for.
func verifyRemoved(first int64, covered [][]byte) error {
	const kindRemoved, kindFoundUnsigned = 9, 10 // of callgate.audit.v1
	accounted := int64(0)
	var unsigned []notice
	for i := len(covered) - 1; i >= 0; i-- {
		said, err := noticeOf(covered[i])
		if err != nil {
			return err
		}
		index := uint64(first + int64(i))
		if slices.ContainsFunc(unsigned, func(it notice) bool { return it.first <= index && index <= it.last }) {
			continue
		}
		// Capsules are removed, too, and are no records.
		if said.kind == kindRemoved && said.what == "records" {
			accounted = max(accounted, int64(said.last)+1)
		}
		if said.kind == kindFoundUnsigned && said.last < index {
			unsigned = append(unsigned, said)
		}
	}
	if accounted < first {
		return fmt.Errorf("records %d to %d are missing, and the log does not say that it removed them", accounted, first-1)
	}
	return nil
}

// verified is a log as far as it was verified. It begins with its first file: of records before that there are only the leaves,
// which the tiles have.
type verified struct {
	files    []segment
	leaves   []tlog.Hash
	unsigned int // records after the checkpoint
}

func verifyLog(dir string, key note.Verifier) (verified, error) {
	at, err := readCheckpoint(filepath.Join(dir, "tree", "checkpoint"), key)
	if err != nil {
		return verified{}, err
	}
	hashes, err := leaves(dir, at)
	if err != nil {
		return verified{}, err
	}
	files, err := segments(dir)
	if err != nil {
		return verified{}, err
	}
	log := verified{files: files, leaves: hashes}
	if len(files) == 0 && at.size > 0 {
		return verified{}, fmt.Errorf("none of %d records is there", at.size)
	}
	if len(files) == 0 {
		return log, nil
	}
	var covered [][]byte
	next := files[0].first
	for i, file := range files {
		end := at.size
		if i+1 < len(files) {
			end = min(end, files[i+1].first)
		}
		if file.first != next {
			return verified{}, fmt.Errorf("a file begins at %d instead of %d", file.first, next)
		}
		isLast := i+1 == len(files) || files[i+1].first >= at.size
		those, more, err := compare(file.content, file.first, hashes[min(next, at.size):max(end, min(next, at.size))], isLast)
		if err != nil {
			return verified{}, err
		}
		covered = append(covered, those...)
		log.unsigned += more
		next += int64(len(those) + more)
	}
	if next < at.size {
		return verified{}, fmt.Errorf("the log ends after %d of %d records", next, at.size)
	}
	return log, verifyRemoved(files[0].first, covered)
}

// told says in words what was verified.
func (log verified) told() string {
	first := int64(0)
	if len(log.files) > 0 {
		first = log.files[0].first
	}
	text := fmt.Sprintf("%d records are as they were logged", int64(len(log.leaves))-first)
	if first > 0 {
		text += fmt.Sprintf("; %d before them were removed, as the log says, and not seen", first)
	}
	if log.unsigned > 0 {
		text += fmt.Sprintf("; %d after them are not signed yet", log.unsigned)
	}
	return text
}

func flips(dir string, key note.Verifier) (string, error) {
	log, err := verifyLog(dir, key)
	if err != nil {
		return "", err
	}
	if log.unsigned > 0 {
		return "", errors.New("the checkpoint does not cover the last records")
	}
	count := 0
	for i, file := range log.files {
		end := int64(len(log.leaves))
		if i+1 < len(log.files) {
			end = log.files[i+1].first
		}
		for bit := 0; bit < len(file.content)*8; bit++ {
			file.content[bit/8] ^= 1 << (bit % 8)
			if _, more, err := compare(file.content, file.first, log.leaves[file.first:end], true); err == nil && more == 0 {
				return "", fmt.Errorf("bit %d of the file at %d was not found", bit, file.first)
			}
			file.content[bit/8] ^= 1 << (bit % 8)
			count++
		}
	}
	return fmt.Sprintf("%d flipped bits found", count), nil
}

func proof(file string, key note.Verifier) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	head, signed, ok := strings.Cut(string(text), "\n\n")
	lines := strings.Split(head, "\n")
	if !ok || len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return "", errors.New("not a proof with a record")
	}
	record, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
	if err != nil {
		return "", err
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64)
	if err != nil {
		return "", err
	}
	var hashes tlog.RecordProof
	for _, line := range lines[3:] {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return "", err
		}
		hashes = append(hashes, hash)
	}
	at, err := openCheckpoint([]byte(signed), key)
	if err != nil {
		return "", err
	}
	if err := tlog.CheckRecord(hashes, at.size, at.root, index, tlog.RecordHash(record)); err != nil {
		return "", err
	}
	return fmt.Sprintf("record %d of %d is in the log", index, at.size), nil
}

func extends(old, dir string, key note.Verifier) (string, error) {
	before, err := readCheckpoint(old, key)
	if err != nil {
		return "", err
	}
	now, err := readCheckpoint(filepath.Join(dir, "tree", "checkpoint"), key)
	if err != nil {
		return "", err
	}
	hashes, err := tlog.ProveTree(now.size, before.size, reader(dir, now))
	if err != nil {
		return "", err
	}
	if err := tlog.CheckTree(hashes, now.size, now.root, before.size, before.root); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d records extend %d", now.size, before.size), nil
}

func run(words []string) (string, error) {
	if len(words) < 3 {
		return "", errors.New("usage: tlog-verify log|flips|proof|extends … KEY")
	}
	key, err := verifier(words[len(words)-1])
	if err != nil {
		return "", err
	}
	switch {
	case words[0] == "log" && len(words) == 3:
		log, err := verifyLog(words[1], key)
		return log.told(), err
	case words[0] == "flips" && len(words) == 3:
		return flips(words[1], key)
	case words[0] == "proof" && len(words) == 3:
		return proof(words[1], key)
	case words[0] == "extends" && len(words) == 4:
		return extends(words[1], words[2], key)
	}
	return "", errors.New("usage: tlog-verify log|flips|proof|extends … KEY")
}

func main() {
	told, err := run(os.Args[1:])
	if err != nil {
		fmt.Println("fault:", err)
		os.Exit(1)
	}
	fmt.Println(told)
}
