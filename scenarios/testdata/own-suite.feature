Feature: A drill among steps of our own

  Scenario: The change is announced, and the rollback brings the old code back
    Given the change is announced in "#shop"
    And the service "shop" with 1000 orders
    And 30 journeys per second by 20 users
    When release "v2-fails-checkouts" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    Then service is restored within 5 minutes
    And every acknowledged order exists exactly once
