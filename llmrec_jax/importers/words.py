"""Words in the names of columns, as regular expressions, by what the column holds; in some twenty languages.

Names are matched in lowercase, without accents, words joined by "_" (`names.folded`).
"""

# Ends of names of columns with ids: "customer_id", "Kundennummer", "ArtikelNr".
ID_ENDS = r"""
  id ids idx nr num number nummer numero codigo code kod key sku uuid guid isbn\d* asin index номер код 番号 编号
  번호
"""
USERS = r"""
  user customer client kunde klient kaufer buyer member mitglied reviewer visitor besucher account konto person
  nutzer shopper subscriber patron listener reader leser session sitzung household guest ^uid ^cust usuario cliente
  comprador utilisateur acheteur utente gebruiker klant uzytkownik musteri kullanici bruker bruger kund anvandare
  asiakas kayttaja zakaznik vasarlo πελατης χρηστης клиент покупатель пользователь 用户 客户 顾客 顧客 ユーザ 会員
  고객 사용자 회원
"""
ITEMS = r"""
  item product produkt artikel article ^artn ^art$ sku asin isbn ^ean gtin ^upc stock material ware offer listing
  property content movie film book buch track song artist album game spiel news course recipe restaurant business
  hotel video anime manga beer wine podcast bookmark url$ ^iid ^mid ^pid ^aid ^prod produit producto prodotto
  produto articulo articolo artigo artykul libro livre livro ksiazka tuote ^vare urun tavar zbozi vyrobek termek
  προιον товар продукт книг фильм 商品 产品 產品 物品 製品 アイテム 상품 제품 作品 书
"""
SESSIONS = r"session sitzung"
AGGREGATES = r"(^|_)(avg|average|mean|count|num|number|total|n)(_|$)"
# The first that fits is taken, so the order matters: "product_type" is a category, "review_title" not a title.
KINDS = {
    "link": r"url link image img photo picture bild foto thumb poster",
    "count": AGGREGATES + r" anzahl quantit ^qty menge cantidad aantal ilosc количество 数量 수량 votes helpful",
    "review": r"review_?(text|title|body|headline|summary) ^text$ comment kommentar reviewer_?name",
    "price": r"""
      price msrp ^cost$ preis betrag prix precio prezzo preco prijs ^cena ^pris$ hinta fiyat цена 价格 価格 가격
    """,
    "rating": r"""
      rating ^stars?$ star_ score ^overall$ ^grade$ ^plays?$ play_?count evaluation bewertung ^sterne$ ^note$ punkte
      valoracion puntuacion calificacion valutazione ^voto punteggio avaliacao ^nota$ ocena beoordeling betyg puan
      arvio hodnoceni ertekeles βαθμολογια оценка рейтинг 评分 評分 評価 평점 별점
    """,
    "timestamp": r"""
      timestamp time date created ^when$ ^ts$ ^at$ _at$ ^dt$ t_dat datum zeit fecha ^hora ^data$ data_ momento
      horodatage tijd czas cas$ tarih zaman aika pvm ημερομηνια дата время 时间 時間 日期 日時 日付 날짜 시간
    """,
    "description": r"""
      descri detail_?desc abstract overview plot synops ^details$ blurb summary beschreib zusammenfass descrip resum
      omschrijving ^opis beskriv kuvaus aciklama popis leiras περιγραφη описание 描述 説明 설명
    """,
    "category": r"""
      categor kategor categ genre gener[eoi]s?$ gattung group ^class ^tags?$ department section famil topic shel[fv]
      (^|_)type?(_|$) gruppe klasse rubri sparte abteilung sortiment thema luokka категори жанр 类别 类目 分类
      ジャンル カテゴリ 카테고리 장르
    """,
    "brand": r"""
      brand ^make$ manufactur author writer artist store publisher vendor seller supplier director studio developer
      creator ^label$ marke hersteller fabric autor verlag lieferant kunstler regisseur marque auteur marca autore
      merk marka producent merkki kirjailija forfatter бренд автор марка 品牌 作者 ブランド 著者 브랜드 저자
    """,
    "title": r"""
      title headline ^name$ titel bezeichnung titre libelle designation ^nom$ titulo denominaci ^nombre$ titolo
      denominazi ^nome$ ^naam$ tytul ^nazwa$ ^namn$ ^navn$ ^nimi$ otsikko baslik ^ad$ ^adi$ titulek ^nazev$ ^nev$
      τιτλος ονομα название наименование имя 标题 標題 名称 名稱 商品名 タイトル 品名 제목 이름 상품명
    """,
    "weight": r"^weight$ ^gewicht$ event_?weight interaction_?weight sample_?weight",
    "action": r"^action$",
    "impression_id": r"^impression_?id$",
}
# With a word for an item, a title: "product_name", "nom du produit".
NAMES = r"name nom(?!er) naam nazwa nazev namn navn nimi bez(eichnung)?$ 名 имя label$ title titel"
# Names of columns that are nothing but an id.
PLAIN_IDS = r"^(id|nr|no|num|number|nummer|numero|code|key|sku|codigo|ref|reference|referenz|ident.*)$"
EXACT = {"titel", "titre", "titulo", "titolo", "bewertung", "kategorie", "categorie", "marke", "beschreibung"}
# Ids of other catalogues, or of several items at once.
SECOND_IDS = r"parent variant imdb tmdb goodreads_ best_ url content_type"
